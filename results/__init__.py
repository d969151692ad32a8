"""What was found: settings, records, selection, tables; pictures, reports, model files. Never trains."""
