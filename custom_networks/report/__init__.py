"""What is said about a case: measurements, report, tables and the overlay."""
