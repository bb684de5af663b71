"""HTML pages: report.html of a case, and index.html of an output folder."""
