"""Texts that would run a script or break what they stand in, if they were read as HTML or Markdown; and what a page may be made of."""

from html.parser import HTMLParser

# Each sets a flag of the page, asks the server for /stolen, or opens a dialog.
RUN = "window.hacked=1;fetch('/stolen')"
TEXTS = (
    f"<script>{RUN}</script>",
    f'<img src=x onerror="{RUN}">',
    f"<svg/onload={RUN}>",
    "<iframe srcdoc='<script>alert(1)</script>'>",
    "<<script>alert(1)</script>",
    "<a href='javascript:alert(1)'>here</a>",
    "</span></td></table><script>alert(1)</script>",
    "' onmouseover='alert(1)' x='",
    '"><img src=x onerror=alert(1)>',
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "&#60;img src=x onerror=alert(1)&#62;",
    "[here](javascript:alert(1))",
    "[here](java&#115;cript:alert(1))",
    "[here](<javascript:alert(1)>)",
    "![here](javascript:alert(1))",
    "![x](/stolen)",
    "[here](data:text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==)",
    "[here][1]\n\n[1]: javascript:alert(1)",
    "<javascript:alert(1)>",
    "`<img src=x onerror=alert(1)>",
    "``` <img src=x onerror=alert(1)> ``",
    "\n\n<img src=x onerror=alert(1)>\n\n",
    "\u2028\u2028<img src=x onerror=alert(1)>",
    "\r\r<img src=x onerror=alert(1)>",
    '```mermaid\nflowchart LR\n a --> b\n click a href "javascript:alert(1)"\n```',
    "~~~html\n<script>alert(1)</script>\n~~~\n<script>alert(1)</script>",
    "$\\href{javascript:alert(1)}{x}$",
    "\\begin{align}\\href{javascript:alert(1)}{x}\\end{align}",
    "\\\\(\\href{javascript:alert(1)}{x}\\\\)",
    "see https://x.org/a_b*c or www.x.org/`b` or me@x.org*",
    "a|b\nc",
    "$x^2$ `*[link](http://x)*`",
    "& <b>bold</b> ~~gone~~ _leaning_ **thick**",
    "\\`<img src=x onerror=alert(1)>\\`",
    "@@0@@ $<img src=x onerror=alert(1)>$",
)
PANEL_TAGS = {"style", "span", "b", "small", "br", "div", "p", "ul", "li", "table", "tr", "th", "td"}
MARKDOWN_TAGS = {"h1", "h2", "h3", "h4", "h5", "h6", "p", "ul", "ol", "li", "pre", "code", "table", "thead", "tbody", "tr", "th", "td"}
MARKDOWN_TAGS |= {"strong", "em", "del", "hr", "blockquote", "br", "span"}
ATTRIBUTES = {"style", "role"}


class Seen(HTMLParser):
    """The tags, the attributes and the text that a browser would find."""

    def __init__(self, page: str):
        super().__init__()
        self.tags, self.attributes, self.text = set(), set(), ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attributes}

    def handle_data(self, data):
        self.text += data

    def handle_comment(self, data):
        self.tags.add("a comment")

    handle_decl = handle_pi = unknown_decl = handle_comment


def words(text: str) -> str:
    """Return a text with every run of white space as one blank: as a page shows it."""
    return " ".join(text.split())
