"""Pages of one file: text, tables, pictures and curves that need no server and no network."""
