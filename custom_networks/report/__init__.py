"""Measurements, verdict, reports, tables and pictures of a case."""
