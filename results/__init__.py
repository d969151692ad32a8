"""What was found: settings, records, tables, selection, checkpoints, export. Never trains."""
