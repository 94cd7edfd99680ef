"""Words that no text of the project has: each has a plainer one."""

import re

BANNED = re.compile(
    r'\b(wants|besides?|mend|mends|mended|parted|heeds|(is|are) said|is taken)\b', re.IGNORECASE)
