"""The pages to look at: report.html of a case, and index.html of an output folder."""
