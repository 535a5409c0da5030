"""results.json, junit.xml and the terminal, all from one result object."""
