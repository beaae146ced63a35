"""The figures of a day or a month, as staff read them: drawn, in a table, as a file."""
