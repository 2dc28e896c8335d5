"""README.md and README.zh-CN.md say the same: block for block, commands, figures and pictures."""
import collections
import os
import re

import pytest

from conftest import ROOT

ENGLISH, CHINESE = 'README.md', 'README.zh-CN.md'
CODE = re.compile(r'(`+)(.+?)\1(?!`)')
LINK = re.compile(r'\]\((.+?)\)')
HAN = r'[\u4e00-\u9fff]'
# A figure is a number as it is written, but for commas; a minus is none where a word stands before
# it (Python 3.10-3.13), and 1-d is a word. In tables the signs count, too.
NUMBER = r'(?:(?<!\w)-)?\d(?!-d\b)(?:,?\d)*(?:\.\d+)?(?:e-?\d+)?'

Block = collections.namedtuple('Block', 'line kind text')


def read(name):
    with open(os.path.join(ROOT, name), encoding='utf-8') as file:
        return file.read()


def blocks(text):
    """The blocks of a Markdown text: headings, paragraphs, items, table rows, pictures, and lines
    of code, each with the number of its first line."""
    found, fenced, going_on = [], False, False  # going_on: the last block may take the next line
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith('```'):
            fenced, going_on = not fenced, False
        elif fenced or line.startswith('    ') and not going_on:
            found.append(Block(number, 'code', line))
        elif not line.strip():
            going_on = False
        elif re.match(r'#|\||!', line):
            kind = {'#': 'heading', '|': 'row', '!': 'picture'}[line[0]]
            found.append(Block(number, kind, line))
            going_on = False
        elif going_on and not re.match(r'[-*] |\d+\. ', line):
            last = found.pop()
            found.append(last._replace(text=last.text + ' ' + line.strip()))
        else:
            kind = 'item' if re.match(r'[-*] |\d+\. ', line) else 'paragraph'
            found.append(Block(number, kind, line))
            going_on = True
    return found


def sections(text):
    """The blocks of each section, the one before the first `## ` included."""
    found = [[]]
    for block in blocks(text):
        if block.kind == 'heading':
            found.append([])
        found[-1].append(block)
    return found[1:]


def inline_code(text):
    return [code for _, code in CODE.findall(text)]


def figures(text, pattern=NUMBER):
    """The figures of a text in their order, those in inline code aside, `1,000` as `1000`."""
    return [figure.replace(',', '') for figure in re.findall(pattern, CODE.sub('`', text))]


def cells(row):
    """The cells of a table's row, at whose bars no backslash stands."""
    return re.split(r'(?<!\\)\|', row)


def pairs(*kinds):
    """Blocks of these kinds that say the same, and where they are; another test sees to order."""
    for english, chinese in zip(blocks(read(ENGLISH)), blocks(read(CHINESE))):
        if english.kind in kinds:
            yield english, chinese, '%s:%d and %s:%d' % (ENGLISH, english.line, CHINESE,
                                                         chinese.line)


def test_each_links_to_the_other_in_its_first_lines():
    for name, other in (ENGLISH, CHINESE), (CHINESE, ENGLISH):
        assert '](%s)' % other in ''.join(read(name).splitlines(True)[:4]), name


def test_sections_are_the_same_and_so_are_their_blocks():
    english, chinese = sections(read(ENGLISH)), sections(read(CHINESE))
    assert len(english) > 10
    for ours, theirs in zip(english, chinese):
        shape, other = [[block.kind for block in section] for section in (ours, theirs)]
        assert shape == other, '%s, line %d, is not as %s has it, line %d' % (
            theirs[0].text, theirs[0].line, ours[0].text, ours[0].line)
    assert [section[0].text.split()[0] for section in chinese] == [
        section[0].text.split()[0] for section in english]


def test_commands_are_the_same():
    """Each line of code, to the letter; in the list of files it is the names that count."""
    last = sections(read(ENGLISH))[-1][0].line
    seen = 0
    for english, chinese, where in pairs('code'):
        if english.line > last:
            names = r'\w+\.(?:py|md)|\w+/\w*|`.+?`'
            assert re.findall(names, chinese.text) == re.findall(names, english.text), where
        else:
            assert chinese.text == english.text, where
            seen += 1
    assert seen > 10


def test_inline_code_is_the_same():
    for english, chinese, where in pairs('heading', 'paragraph', 'item'):
        assert sorted(inline_code(chinese.text)) == sorted(inline_code(english.text)), where
    for english, chinese, where in pairs('row'):
        ours, theirs = ([inline_code(cell) for cell in cells(row.text)]
                        for row in (english, chinese))
        assert theirs == ours, where


def test_tables_have_the_same_figures_cell_by_cell():
    seen = 0
    for english, chinese, where in pairs('row'):
        ours, theirs = ([figures(cell, NUMBER + '|[±%]') for cell in cells(row.text)]
                        for row in (english, chinese))
        assert theirs == ours, where
        seen += '±' in english.text
    assert seen > 40


def test_text_has_the_same_figures():
    for english, chinese, where in pairs('heading', 'paragraph', 'item'):
        assert sorted(figures(chinese.text)) == sorted(figures(english.text)), where


def test_pictures_and_links_are_the_same_and_there():
    seen = 0
    for english, chinese, where in pairs('picture', 'paragraph', 'item', 'row'):
        ours, theirs = LINK.findall(english.text), LINK.findall(chinese.text)
        if ours != [CHINESE]:  # the line that links to the other language
            assert theirs == ours, where
        for path in ours + theirs:
            assert '://' in path or os.path.exists(os.path.join(ROOT, path)), where
        seen += english.kind == 'picture'
    assert seen > 10


@pytest.mark.parametrize('kind', ['paragraph', 'item', 'picture'])
def test_the_chinese_text_is_chinese_one_line_each(kind):
    """Markdown joins lines with a space, which has no place between Chinese characters."""
    lines = read(CHINESE).splitlines()
    for block in blocks(read(CHINESE)):
        if block.kind == kind and ENGLISH not in block.text:
            assert re.search(HAN, block.text), '%s:%d' % (CHINESE, block.line)
            assert lines[block.line - 1] == block.text, '%s:%d' % (CHINESE, block.line)
            assert not re.search('%s +%s' % (HAN, HAN), block.text), '%s:%d' % (
                CHINESE, block.line)
