"""Scripts that generate the pictures, tables and pages of the documentation."""
