"""The licence of a font file, in a word or two: what the font says, else what its package says."""
import gzip
import os
import re

# The first pattern that matches names the licence.
LICENCES = [(re.compile(pattern, re.IGNORECASE | re.DOTALL), name) for pattern, name in (
    (r'open[ _-]font[ _-]licen|\bofl\b|\bsil-1\.1|scripts\.sil\.org', 'OFL-1.1'),
    (r'\bgust\b|\bgfs?l\b', 'GUST'), (r'\blppl|latex project public', 'LPPL'),
    (r'\bapache', 'Apache-2.0'), (r'\blgpl|(lesser|library) general public', 'LGPL'),
    (r'(\bagpl|affero general public).*exception', 'AGPL with font exception'),
    (r'\bagpl|affero general public', 'AGPL'),
    (r'(\bgpl|general public licen).*exception', 'GPL with font exception'),
    (r'\bgpl|general public licen', 'GPL'), (r'bitstream vera|\bvera licen', 'Bitstream Vera'),
    (r'\bipa font licen|\bipa-1\b', 'IPA'), (r'\bcc0|public[ -]domain|\bpd\b', 'public domain'),
    (r'\bmit\b|\bx11\b|\bexpat\b|permission is hereby granted, free of charge', 'MIT'),
    (r'\bcc-by-sa|attribution-sharealike', 'CC-BY-SA'), (r'\bcc-by\b|commons attr', 'CC-BY'),
    (r'\bbsd|redistributions? (of|in) source', 'BSD'), (r'\bknuth\b', 'Knuth'))]


def classify(text):
    """Return the short name of the licence that a text states or names; '' where it is unknown."""
    return next((name for pattern, name in LICENCES if pattern.search(text)), '')


def origin(font, name, path):
    """Return (package, licence) of an FT2Font, given its name below FONTDIR and its path.

    The package is known where FONTDIR/<package>/usr/share/doc/<package>/copyright is. A package of
    TeX Live holds many fonts, so the folder of the font follows its name.
    """
    package = name.split('/')[0]
    papers = os.path.join(path[:len(path) - len(name)], package, 'usr/share/doc', package)
    licence = classify(notice(font))
    if not os.path.isfile(os.path.join(papers, 'copyright')):
        return '', licence or 'unknown'
    if package.startswith('texlive-'):
        licence = licence or texlive_licence(papers, name[name.find('texmf-dist/'):])
        return '{}: {}'.format(package, name.split('/')[-2]), licence
    return package, licence or debian_licence(papers)


def notice(font):
    """Return what a font says on its licence: sfnt name records 13 and 14, or a Type 1 notice."""
    try:
        names = font.get_sfnt()
        return ' '.join(names.get((3, 1, 0x409, record), b'').decode('utf-16-be', 'replace') + ' ' +
                        names.get((1, 0, 0, record), b'').decode('latin-1') for record in (13, 14))
    except ValueError:  # no name table: Type 1
        pass
    try:
        return font.get_ps_font_info()[1]
    except ValueError:  # not in UTF-8
        return ''


def debian_licence(papers):
    """Return the licence of the first files in Debian's copyright file, or the first it names."""
    with open(os.path.join(papers, 'copyright'), encoding='utf-8', errors='replace') as stream:
        text = stream.read()
    stanza = re.search(r'(?ms)^Files:.*?^License:\s*(.*?)\s*$', text)
    words = stanza.group(1) if stanza else ''
    see = 'see {}/copyright'.format(os.path.basename(papers))
    return classify(words or text) or ('{} ({})'.format(words, see) if words else see)


def texlive_licence(papers, name):
    """Return the licence of a file in texmf-dist/ from TeX Live's list, or where to look for it."""
    path = os.path.join(papers, 'Licenses.gz')
    if path not in TEXLIVE:
        TEXLIVE[path] = read_texlive(path) if os.path.isfile(path) else []
    found = next((licence for start, licence in TEXLIVE[path] if name.startswith(start)), '')
    return found or 'other free (see {}/copyright)'.format(os.path.basename(papers))


TEXLIVE = {}  # path of a list -> what it holds, read once


def read_texlive(path):
    """Return [(start of file names, licence)]: in the list, `name: licences` heads the files."""
    rows, licence = [], ''
    with gzip.open(path, 'rt', encoding='utf-8', errors='replace') as stream:
        for line in stream:
            if line.startswith('texmf-dist/fonts/'):
                rows.append((line.strip().rstrip('*'), licence))
            elif ':' in line:
                licence = classify(line.split(':')[1])
    return rows
