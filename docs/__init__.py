"""What makes the pictures, tables and pages of the documentation."""
