"""What was found: records, selection, tables, pictures, reports, model files. Never trains."""
