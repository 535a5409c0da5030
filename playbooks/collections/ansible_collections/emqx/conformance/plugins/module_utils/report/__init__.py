"""results.json, junit.xml, summary.md, index.html and the terminal, all from one result object."""
