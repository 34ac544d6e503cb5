"""A CRM export imported row by row: columns, rows, report."""
