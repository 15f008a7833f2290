"""The site-connect system on top of `fabric`: frame node, host pages, agents. README.md in this folder is the guide."""
