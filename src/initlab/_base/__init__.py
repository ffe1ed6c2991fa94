"""What everything stands on: errors, names, fans, random streams, records."""
