"""Pages: text is escaped, one script may run, nothing is loaded."""

import base64
import hashlib
import re
from html import unescape

from permafrost.experiments.reports import charts, page

CHART = charts.Chart('<b>', '<svg></svg>', [('<i>\n', 's0', 'solid'), ('b', 's1', 'dashed')])
VALUES = dict(
    title='</title><script>alert(1)</script>', header=[('<h>', False)], rows=[], date='now',
    methods=[], has_difference=False, baseline='', split='test', latency_of='', ablation=CHART,
    costs=[], curves=[], too_many=False, notes=["<img src=x onerror='alert(1)'>\x1b[2J"])


def test_text_is_escaped():
    text = page.render('comparison.html', **VALUES)
    assert text.count('<script') == 1 and '<img' not in text and '<b></h3>' not in text
    assert '&lt;i&gt;\\n</li>' in text and '\\x1b[2J' in text and '\x1b' not in text
    assert '<svg></svg>' in text


def test_the_policy_allows_the_script_of_the_page_alone():
    text = page.render('comparison.html', **VALUES)
    policy = unescape(re.search('Content-Security-Policy" content="(.*?)"', text).group(1))
    script = re.search('<script>(.*?)</script>', text, re.DOTALL).group(1)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy and "default-src 'none'" in policy
    assert not re.search(r'https?:(?!//www\.w3\.org)', text)
