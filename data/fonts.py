"""Font files to images: which files are fonts, how a letter is drawn, what a family is called."""
import collections
import os
import re
import time

import numpy as np
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.ft2font import FT2Font
from matplotlib.path import Path
from matplotlib.transforms import Affine2D, IdentityTransform

from data.files import progress
from data.licences import origin

try:
    from matplotlib.ft2font import LoadFlags
    NO_SCALE = LoadFlags.NO_SCALE
except ImportError:  # before matplotlib 3.10
    from matplotlib.ft2font import LOAD_NO_SCALE as NO_SCALE

LETTERS = 'ABCDEFGHIJ'
SIZE = 28             # pixels, as in notMNIST
UNICODE = 0x756e6963  # 'unic', FreeType's name of a charmap

# Signs and scripts that vouch for each other (one Greek font agrees with the next), so that only
# the name tells. Found by looking at one font of each family, before any split was made.
NOT_CAPITALS = re.compile(r'''(?xi)
    dingb[ai]t | ornament | orns\b | bullets | \barrows | flowers | ^(standard\s)?symbols?\b
    | cm(ss)?ex\d | msam\d | wasyb?\d | stmary\d | math(b|astrotest)\d | ^esstix-(two|four|six)\b
    | starfont | semafor | faux\ssnow | binary\s(x\s)?01s
    | ellhnikh | drmgrk | alfa-beta | ^frum | futhark | frimurer | cherokee | inuit | ^tamu_''')

# In what the members of a family differ.
STYLE_WORDS = set('''
    thin hairline ultra extra light lt lig ligh regular reg rg normal book bk medium med demi semi
    bold bd black blk heavy hv fat italic ital it oblique slanted slant sl unslanted upright roman
    condensed cond cn compressed narrow nr wide expanded expd exp extended extd caption display text
    headline subhead titling poster small caps smallcaps sc osf lf tf pt outline solid shadow inline
    plain round std pro adf gfs sil mt ttf otf tt gpl gnu brk unicode'''.split())

# glyphs: uint8 [10, 28, 28]; key: of the family; sign: whether metadata call it no letters
Font = collections.namedtuple('Font', 'file family style key sign package licence glyphs')


class Unusable(Exception):
    """A font file that gives no A-J; the message says why."""


def font_files(folders):
    """Return the font files below some folders: sorted (name relative to its folder, path)."""
    found = []
    for folder in folders:
        for where, _, names in os.walk(folder):
            paths = [os.path.join(where, name) for name in names
                     if name.lower().endswith(('.ttf', '.otf', '.pfb', '.ttc'))]
            found += [(os.path.relpath(path, folder).replace(os.sep, '/'), path)
                      for path in paths if os.path.isfile(path) and not os.path.islink(path)]
    return sorted(found)


def draw(font, letter, canvas):
    """Return a letter of an FT2Font with its ink box stretched to the canvas: uint8 [28, 28]."""
    font.load_char(ord(letter), flags=NO_SCALE)
    vertices, codes = font.get_path()
    if len(vertices) == 0:
        raise Unusable('without a full A-J')
    # Outlines come in 1/64 of a font unit. Curves become chords, at most half a unit off.
    path = Path(vertices, codes).cleaned(transform=Affine2D().scale(64), curves=False)
    ink = path.vertices[(path.codes == Path.MOVETO) | (path.codes == Path.LINETO)]
    low, high = ink.min(axis=0), ink.max(axis=0)
    if not (high > low).all():
        raise Unusable('without a full A-J')
    canvas.clear()
    pen = canvas.new_gc()
    pen.set_linewidth(0)
    pen.set_snap(False)
    canvas.draw_path(pen, Path((path.vertices - low) * (SIZE / (high - low)), path.codes),
                     IdentityTransform(), (1.0, 1.0, 1.0, 1.0))
    grey = np.asarray(canvas.buffer_rgba())[:, :, 3].copy()
    if grey.max() < 128:
        raise Unusable('without a full A-J')
    return grey


def family_key(family):
    """Return a family's name without what its members differ in: 'XY Sans Light 10' -> 'xysans'."""
    words = re.findall(r'[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+', family)
    words = [word.lower() for word in words]
    core = ''.join(word for word in words
                   if word not in STYLE_WORDS and len(word) > 1 and not word.isdigit())
    return core if len(core) > 2 else ''.join(words) or family


def read_font(name, path, canvas):
    """Return the Font in a file. Raises Unusable where it has no A-J."""
    try:
        font = FT2Font(path)
    except (RuntimeError, OSError, ValueError):
        raise Unusable('unreadable')
    try:
        font.select_charmap(UNICODE)
    except (RuntimeError, ValueError):
        raise Unusable('without a Unicode charmap')
    if not all(font.get_char_index(ord(letter)) for letter in LETTERS):
        raise Unusable('without a full A-J')
    try:
        glyphs = np.array([draw(font, letter, canvas) for letter in LETTERS])
    except (RuntimeError, ValueError):
        raise Unusable('unreadable')
    stem = os.path.splitext(os.path.basename(name))[0]
    family = font.family_name if re.search(r'\w\w', font.family_name or '') else stem
    style = font.style_name if font.style_name != 'UNAVAILABLE' else ''
    table = font.get_sfnt_table('OS/2')
    sign = bool(table and bytearray(table['panose'])[0] == 5
                or NOT_CAPITALS.search(family) or NOT_CAPITALS.search(stem))
    return Font(name, family, style, family_key(family), sign, *origin(font, name, path), glyphs)


def read_fonts(folders):
    """Return all different usable Fonts below some folders, and a Counter of what was left out."""
    files, fonts, left_out, drawn = font_files(folders), [], collections.Counter(), set()
    canvas, started = RendererAgg(SIZE, SIZE, 72), time.time()
    for done, (name, path) in enumerate(files, 1):
        progress('Reading fonts', done, len(files), started)
        try:
            font = read_font(name, path, canvas)
        except Unusable as reason:
            left_out[str(reason)] += 1
            continue
        if font.glyphs.tobytes() in drawn:
            left_out['the same as another'] += 1
        else:
            drawn.add(font.glyphs.tobytes())
            fonts.append(font)
    return fonts, left_out
