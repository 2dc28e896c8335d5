"""Make data/letters.npz, the capitals A-J of many fonts: `python -m data.letters FONTDIR...`.

FONTDIR holds unpacked packages (FONTDIR/<package>/...) or any fonts (.ttf .otf .pfb .ttc). As in
notMNIST a glyph's ink box is stretched to 28x28 pixels, white on black. The rules, in this order:

1. A font has A-J in a Unicode charmap, with ink in each. Of fonts that differ by no more than two
   renderings of one drawing do (SAME, in all letters), the first stays.
2. A family is its name without words for weight, width, size or foundry. Families with fonts that
   are nearly equal (NEAR) in MANY letters are one group, never divided between splits.
3. Signs and other scripts go: fonts that call themselves pictorial (PANOSE family kind 5), those
   named in NOT_CAPITALS (data/fonts.py), and those of whose ten glyphs at most STRANGER are closest
   to the same letter of another group. What all ten share, as a frame, does not count.
4. Groups of more than LARGEST fonts are for training. The others stand in order of size, by powers
   of two, then of ease: how much closer the same letter is than any other in rule 3. Of each BLOCK
   in a row a hash sends one to validation, one to test. So these are equally hard, and no font's
   place depends on how well a net reads it.
5. An image that an earlier split has (training, validation, test) is taken out of the later one.
"""
import argparse
import csv
import hashlib
import os
import time

import numpy as np
from matplotlib import image

from data import show
from data.files import DataError, cannot_write, check_writable, progress, write
from data.fonts import LETTERS, read_fonts
from data.notmnist import NEAR as NEAR_IMAGE, near

SPLITS = ('train', 'valid', 'test')
SAME = 1.0       # RMS grey levels (of 255) of 14x14 means: no more than two renderings differ
NEAR = 8.0       # the same measure: hard to tell apart
MANY = 4         # of ten letters
STRANGER = 1     # of ten, which is chance; set by looking at what goes and at what barely stays
LARGEST = 110    # fonts; one group then fills at most a quarter of a split of some 450 fonts
BLOCK = 8        # groups: one to validation, one to test, six to training
SEED = 42        # of the order of the images within each split

# ---- which fonts, and in which split ---------------------------------------------------------


def shrink(images):
    """Return the means of 2x2 pixels as whole numbers: uint8 [..., 28, 28] -> float32 [..., 196].

    So small, whole numbers multiply and add up exactly in any order: what is decided by them is the
    same on every machine.
    """
    blocks = images.reshape(images.shape[:-2] + (14, 2, 14, 2)).mean(axis=(-3, -1))
    return np.floor(blocks + 0.5).astype(np.float32).reshape(images.shape[:-2] + (196,))


def alike(small, bound):
    """Return in how many letters fonts are within `bound`: [n, 10, 196] -> int8 [n, n]."""
    letters = np.zeros([len(small), len(small)], np.int8)
    for glyphs in small.transpose([1, 0, 2]):
        squares = (glyphs.astype(float) ** 2).sum(axis=1)
        apart = squares[:, None] + squares - 2.0 * (glyphs @ glyphs.T)
        letters += apart <= bound ** 2 * glyphs.shape[1]
    return letters


def first_drawings(small):
    """Return the indices of the fonts that are no second rendering of an earlier one."""
    same, first = alike(small, SAME) == 10, np.ones(len(small), bool)
    for k in range(len(small)):
        if first[k]:
            first[k + 1:] &= ~same[k, k + 1:]
    return np.flatnonzero(first)


def groups(keys, small):
    """Return each font's group, as the index of the group's first font: int [n]."""
    parent = list(range(len(keys)))

    def root(k):
        while parent[k] != k:
            k = parent[k]
        return k

    first_of = {}
    family = [(first_of.setdefault(key, k), k) for k, key in enumerate(keys)]
    for a, b in family + np.argwhere(np.triu(alike(small, NEAR) >= MANY, 1)).tolist():
        low, high = sorted((root(a), root(b)))
        parent[high] = low
    return np.array([root(k) for k in range(len(keys))])


def agreement(small, group):
    """Return how many of a font's ten glyphs are closest to their own letter: int [n]; and by how
    much on average, against the closest of another letter: float [n], the font's ease.

    small: [n, 10, 196]. group: int [n]; only fonts of other groups are looked at. Close is what
    points the same way or the opposite one (black on white), less the font's mean glyph.
    """
    n, started, ten = len(small), time.time(), np.arange(10)
    agree, ease = np.zeros(n, int), np.zeros(n)
    rows = small - small.mean(axis=1, keepdims=True)
    rows /= np.sqrt((rows ** 2).sum(axis=2, keepdims=True)) + 1e-6
    rows = np.round(rows * 1000).reshape([n * 10, -1])  # whole numbers again
    for start in range(0, n, 64):
        progress('Comparing fonts', start, n, started)
        close = np.abs(rows[start * 10:(start + 64) * 10] @ rows.T).reshape([-1, 10, n, 10])
        for k, to_others in enumerate(close, start):
            to_others[:, group == group[k]] = -1
            best = to_others.max(axis=1)  # [letter of this font, letter of the others]
            agree[k] = (best.argmax(axis=1) == ten).sum()
            own, best[ten, ten] = best[ten, ten], -1
            ease[k] = (own - best.max(axis=1)).mean(dtype=float)
    progress('Comparing fonts', n, n, started)
    return agree, ease


def deal(keys, group, ease):
    """Return the fonts' splits, 0 training, 1 validation, 2 test: int [n]. See rule 4."""
    members = {g: np.flatnonzero(group == g) for g in np.unique(group)}
    luck = {g: hashlib.sha256(min(keys[k] for k in members[g]).encode('utf-8')).hexdigest()
            for g in members}
    order = sorted((g for g in members if len(members[g]) <= LARGEST),
                   key=lambda g: (-len(members[g]).bit_length(), ease[members[g]].mean(), luck[g]))
    split = np.zeros(len(keys), int)
    for start in range(0, len(order), BLOCK):
        drawn = sorted(order[start:start + BLOCK], key=luck.get)
        for where, g in zip((1, 2), drawn):
            split[members[g]] = where
    return split


def choose(folders):
    """Return the chosen Fonts, the split of each (int [n]) and the lines of a report: rules 1-4."""
    fonts, left_out = read_fonts(folders)
    if not fonts:
        raise DataError('no font with a full A-J lies in {}; give a folder of .ttf, .otf or .pfb '
                        'fonts'.format(', '.join(folders)))
    lines = ['{:6} font files'.format(len(fonts) + sum(left_out.values()))]
    small = shrink(np.array([font.glyphs for font in fonts]))
    first = first_drawings(small)
    left_out['the same as another'] += len(fonts) - len(first)
    fonts, small = [fonts[k] for k in first], small[first]
    group = groups([font.key for font in fonts], small)
    agree, ease = agreement(small, group)
    sign = np.array([font.sign for font in fonts])
    strange = ~sign & (agree <= STRANGER)
    left_out['signs or another script, by name'] = sign.sum()
    left_out['signs or another script, by shape'] = strange.sum()
    stay = np.flatnonzero(~sign & ~strange)
    lines += ['{:6} left out: {}'.format(count, why) for why, count in left_out.most_common()]
    lines.append('       by shape: ' + ', '.join(sorted({fonts[k].family for k in
                                                         np.flatnonzero(strange)})))
    fonts, group = [fonts[k] for k in stay], group[stay]
    agree, ease = agree[stay], ease[stay]
    lines.append('{:6} kept: {} families in {} groups; 2 3 4 ... 10 letters agree in {} '
                 'fonts'.format(len(fonts), len({font.key for font in fonts}), len(set(group)),
                                ' '.join(map(str, np.bincount(agree, minlength=11)[2:]))))
    return fonts, deal([font.key for font in fonts], group, ease), lines


# ---- what is written -------------------------------------------------------------------------


def assemble(fonts, split):
    """Return the six arrays and how many images of each font are in them: rule 5.

    images: uint8 [n, 28, 28]; labels: uint8 [n], 0-9 for A-J; in an order drawn once from SEED.
    """
    random, seen = np.random.RandomState(SEED), set()
    arrays, counts = {}, np.zeros(len(fonts), int)
    for where, name in enumerate(SPLITS):
        chosen = [(k, label) for k in np.flatnonzero(split == where) for label in range(10)
                  if fonts[k].glyphs[label].tobytes() not in seen]
        if not chosen:
            raise DataError('{} usable fonts are too few for three splits; give more '
                            'families'.format(len(fonts)))
        seen.update(fonts[k].glyphs[label].tobytes() for k, label in chosen)
        chosen = [chosen[k] for k in random.permutation(len(chosen))]
        arrays[name + '_dataset'] = np.array([fonts[k].glyphs[label] for k, label in chosen])
        arrays[name + '_labels'] = np.array([label for _, label in chosen], np.uint8)
        counts += np.bincount([k for k, _ in chosen], minlength=len(fonts))
    return arrays, counts


def report(arrays, fonts, split):
    """Return lines: the sizes of the splits, their letters, and what is nearly in two of them."""
    lines = ['       fonts  images  ' + '  '.join('{:>4}'.format(letter) for letter in LETTERS)]
    for where, name in enumerate(SPLITS):
        of_letter = np.bincount(arrays[name + '_labels'], minlength=10)
        lines.append('{:6}{:6}{:8}  '.format(name, (split == where).sum(), of_letter.sum()) +
                     '  '.join('{:4}'.format(count) for count in of_letter))
    for name, other in (('valid', 'train'), ('test', 'train'), ('test', 'valid')):
        images = np.concatenate([arrays[name + '_dataset'], arrays[other + '_dataset']])
        pool = np.arange(len(arrays[name + '_dataset']))
        found = near(images, pool, np.arange(len(pool), len(images)), NEAR_IMAGE)
        of_letter = np.bincount(arrays[name + '_labels'][found], minlength=10)
        lines.append('{} images of {} are within {:g} (mean difference of pixels, of 255) of one '
                     'of {}: {}'.format(found.sum(), name, NEAR_IMAGE, other, ' '.join(
                         letter + str(count) for letter, count in zip(LETTERS, of_letter))))
    return lines


def write_list(path, fonts, split, counts):
    """Write the fonts, one a line, as CSV: whole, or not at all."""
    part = '{}.{}.part'.format(path, os.getpid())
    try:
        with open(part, 'w', encoding='utf-8', newline='') as file:
            rows = csv.writer(file, lineterminator='\n')
            rows.writerow(['family', 'style', 'file', 'package', 'licence', 'split', 'images'])
            rows.writerows([font.family, font.style, font.file, font.package, font.licence,
                            SPLITS[where], count]
                           for font, where, count in zip(fonts, split, counts))
        os.replace(part, path)
    except OSError as error:
        raise cannot_write(path, error)
    finally:
        if os.path.exists(part):
            os.remove(part)


def write_sheet(path, arrays):
    """Draw 120 random images of each letter, from all splits, into one picture."""
    images, labels = (np.concatenate([arrays[split + kind] for split in SPLITS])
                      for kind in ('_dataset', '_labels'))
    random, rows = np.random.RandomState(SEED), []
    for label in range(10):
        some = images[random.choice(np.flatnonzero(labels == label), 120)]
        some = np.pad(some, [(0, 0), (1, 1), (1, 1)], 'constant', constant_values=96)
        rows.append(some.reshape([3, 40, 30, 30]).transpose([0, 2, 1, 3]).reshape([90, 1200]))
    image.imsave(path, np.concatenate(rows), cmap='gray', vmin=0, vmax=255)


def main(flags):
    started = time.time()
    if not flags.folders:
        raise DataError('there is nothing to make letters of; give a FONTDIR that holds fonts')
    for folder in flags.folders:
        if not os.path.isdir(folder):
            raise DataError('there is no folder {}; give one that holds fonts'.format(folder))
    listed = os.path.splitext(flags.out)[0] + '_fonts.csv'
    for path in (flags.out, listed, flags.sheet):
        if path:
            check_writable(path)
    fonts, split, lines = choose(flags.folders)
    arrays, counts = assemble(fonts, split)
    print('\n'.join(lines + report(arrays, fonts, split)))
    if flags.sheet:
        write_sheet(flags.sheet, arrays)
    write(flags.out, arrays)
    write_list(listed, fonts, split, counts)
    print('{}: {:.2f} MB, {:.0f} s'.format(flags.out, os.path.getsize(flags.out) / 1e6,
                                           time.time() - started))


def build_parser():
    here = os.path.dirname(os.path.abspath(__file__))
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('folders', metavar='FONTDIR', nargs='*', help='folder of fonts, or of '
                        'unpacked packages, searched with all that is below it')
    parser.add_argument('--out', metavar='FILE', default=os.path.join(here, 'letters.npz'),
                        help='what to write, with FILE_fonts.csv beside it (default: '
                        'data/letters.npz)')
    parser.add_argument('--sheet', metavar='FILE', help='a PNG of 120 images of each letter')
    return parser


if __name__ == '__main__':
    show.run('letters', build_parser(), main)
