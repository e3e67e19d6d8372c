"""HTML, Markdown, reStructuredText and PDF to title and text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.documents.html_text import html_to_text
from retrieval.documents.json_values import InvalidDocumentError
from retrieval.documents.markdown_text import markdown_to_text
from retrieval.documents.pdf_text import pdf_to_text
from retrieval.documents.restructured_text import rst_to_text


def pdf_of(*pages, title="A title"):
    """Write a small PDF by hand: one Helvetica line a page."""
    objects = [b"<< /Type /Catalog /Pages 2 0 R >>"]
    kids = b" ".join(b"%d 0 R" % (5 + 2 * number) for number in range(len(pages)))
    objects.append(b"<< /Type /Pages /Kids [%s] /Count %d >>" % (kids, len(pages)))
    objects.append(b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>")
    objects.append(b"<< /Title (%s) >>" % title.encode())
    for number, text in enumerate(pages):
        content = b"BT /F1 12 Tf 20 100 Td (%s) Tj ET" % text.encode()
        box = b"/MediaBox [0 0 300 200] /Resources << /Font << /F1 3 0 R >> >>"
        objects.append(b"<< /Type /Page /Parent 2 0 R %s /Contents %d 0 R >>" % (box, 6 + 2 * number))
        objects.append(b"<< /Length %d >>\nstream\n%s\nendstream" % (len(content), content))
    data, offsets = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, start=1):
        offsets.append(len(data))
        data += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    trailer = b"trailer << /Size %d /Root 1 0 R /Info 4 0 R >>" % (len(objects) + 1)
    head = b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    return data + head + table + trailer + b"\nstartxref\n%d\n%%%%EOF" % len(data)


class TestHtml:
    def test_boilerplate_goes_and_words_stay_whole(self):
        page = """<!DOCTYPE html><html><head><title>My &amp;
        page</title><style>p {}</style><script>var x = "<p>";</script><body><nav>menu</nav>
        <h1>He<b>ll</b>o</h1><p>One<br>two <!-- hidden --><a href=x>thr</a>ee</p><ul><li>a<li>b</ul>
        <table><tr><td>x</td><td>y</td></tr></table><pre>  code\n   here</pre>"""
        assert html_to_text(page) == ("My & page", "Hello\nOne\ntwo three\na\nb\nx\ny\ncode\nhere")

    def test_the_first_heading_serves_as_title(self):
        assert html_to_text("<h1>Head <i>ing</i></h1><p>body") == ("Head ing", "body")

    def test_entities_and_no_markup_at_all(self):
        assert html_to_text("a &lt; b") == ("", "a < b")
        assert html_to_text("") == ("", "")

    def test_deep_nesting(self):
        assert html_to_text("<div>" * 20_000 + "x")[1] == "x"

    @given(st.text(st.sampled_from("<>/!-[]&;\"'= \nabdivscriptCDATA?"), max_size=60) | st.text(max_size=60))
    def test_any_string_is_read_or_refused_by_the_parser_alone(self, markup):
        try:
            title, text = html_to_text(markup)
        except (AssertionError, ValueError):  # readers fall back to the raw text then
            return
        assert isinstance(title, str)
        assert isinstance(text, str)


class TestMarkdown:
    def test_plain_text_of_every_construct(self):
        source = (
            "# Head *ing*\ntext *em* `code` [link](http://x) ![alt](y)\nsoft\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n"
            "```py\nx = 1\n```\n<div>raw <b>html</b></div>\n\n- one\n- two <b>in</b>line &amp; more\n\n## Next\n> quote"
        )
        text = "text em code link alt\nsoft\na\nb\n1\n2\nx = 1\nraw html\none\ntwo inline & more\nNext\nquote"
        assert markdown_to_text(source) == ("Head ing", text)

    def test_front_matter_is_dropped_but_its_title_kept(self):
        assert markdown_to_text("---\ntitle: 'Front'\ntags: [x]\n---\n# Head\nbody") == ("Front", "Head\nbody")
        assert markdown_to_text('+++\ntitle = "Front"\n+++\nbody') == ("Front", "body")
        assert markdown_to_text("---\ndraft: true\n---\n# Head\nbody") == ("Head", "body")

    def test_a_rule_is_no_front_matter(self):
        assert markdown_to_text("text\n\n---\n\nmore") == ("", "text\nmore")

    @given(st.text(st.sampled_from("#*_`[]()!<>-|~:\n \\&;ab1+="), max_size=80) | st.text(max_size=80))
    def test_any_string_is_read(self, source):
        title, text = markdown_to_text(source)
        assert "\n" not in title
        assert isinstance(text, str)


class TestRestructuredText:
    def test_blocks_roles_and_unknown_directives(self):
        source = """
=====
Title
=====

Para *em* ``lit`` :ref:`target <tgt>` and :py:class:`Foo`.

.. py:function:: foo(x)

   Does it.

.. note:: Noted.

.. comment

Section
-------

- one
- two

+---+---+
| a | b |
+---+---+

.. |x| replace:: subst

Use |x| and a `link <http://a>`_::

   literal
"""
        title, text = rst_to_text(source)
        assert title == "Title"
        assert text.splitlines() == [
            "Para em lit target and Foo.",
            ".. py:function:: foo(x)",
            "",
            "   Does it.",
            "Noted.",
            "Section",
            "one",
            "two",
            "a",
            "b",
            "Use subst and a link:",
            "literal",
        ]

    @pytest.mark.parametrize(
        "directive",
        [
            ".. include:: {}",
            ".. literalinclude:: {}",
            ".. raw:: html\n   :file: {}",
            ".. raw:: html\n   :url: file://{}",
            ".. csv-table:: x\n   :file: {}",
            ".. csv-table:: x\n   :url: file://{}",
            ".. math::\n   :file: {}",
        ],
    )
    def test_no_directive_reads_a_file(self, tmp_path, directive):
        secret = tmp_path / "secret.txt"
        secret.write_text("hunter2")
        _, text = rst_to_text(f"before\n\n{directive.format(secret)}\n\nafter")
        assert "before" in text
        assert "after" in text
        assert "hunter2" not in text

    def test_broken_markup_keeps_its_words(self, capfd):
        title, text = rst_to_text("*unclosed\n\n====\nbad\n==\n\n.. |x| image::\n\n`a`__ |undefined|\n")
        for word in ("unclosed", "bad", "undefined"):
            assert word in title + text
        assert capfd.readouterr() == ("", "")

    @given(st.text(st.sampled_from("*`_|:.=-\n \\<>[]()#ab1+~^"), max_size=80))
    def test_any_string_is_read(self, source):
        title, text = rst_to_text(source)
        assert isinstance(title + text, str)


class TestPdf:
    def test_text_of_all_pages_and_the_title(self):
        assert pdf_to_text(pdf_of("First page", "Second")) == ("A title", "First page\nSecond")

    @pytest.mark.parametrize("data", [b"", b"%PDF-1.4", b"no pdf", pdf_of("x")[:200]])
    def test_broken_files_are_refused(self, data):
        with pytest.raises(InvalidDocumentError, match="unreadable PDF"):
            pdf_to_text(data)

    @given(st.data())
    def test_damaged_files_are_read_or_refused(self, data):
        damaged = bytearray(pdf_of("Some text"))
        for _ in range(data.draw(st.integers(1, 8))):
            damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
        try:
            title, text = pdf_to_text(bytes(damaged))
        except InvalidDocumentError:
            return
        assert isinstance(title + text, str)
