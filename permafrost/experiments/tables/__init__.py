"""Tables: those of README.md and docs/ that show recorded results, in Markdown."""
