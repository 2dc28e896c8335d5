"""Make data/notmnist.npz from the notMNIST archives: `python -m data.notmnist`.

As in the notes, training and validation images come from notMNIST_large and test images from
notMNIST_small; with --small-only all three come from the small one. Each archive is read once, as a
stream, and nothing is unpacked. Every distinct image is used once, so none is in two splits.
"""
import argparse
import os
import time

import numpy as np

from data import show
from data.archives import first_seen, read_images
from data.files import DataError, check_writable, fetch, is_whole, progress, write
from data.formats import HERE, KEYS, check

DOWNLOADS = os.path.join(HERE, 'downloads')
TAR_HOSTS = ('https://commondatastorage.googleapis.com/books1000/',
             'http://yaroslavvb.com/upload/notMNIST/')
ZIP_HOST = 'https://zenodo.org/record/8274268/files/'
ARCHIVES = {  # (address, bytes, kind of checksum, checksum), tried in turn
    'small': [(host + 'notMNIST_small.tar.gz', 8458043, 'sha256',
               '76b2ef7ccc56452964780569db37b279c9cbe1bf442c3b38be784752683b3cec')
              for host in TAR_HOSTS] +
             [(ZIP_HOST + 'notMNIST_small.zip', None, 'md5', '3de91fb69221d9c2d5c57387101ebc6c')],
    'large': [(host + 'notMNIST_large.tar.gz', 247336696, 'sha256',
               '1e8261b75484b520dc76027f5c22af50fe608e3bb16277caec086eb928f9b61c')
              for host in TAR_HOSTS] +
             [(ZIP_HOST + 'notMNIST_large.zip', None, 'md5', 'c3f9e0862df000a897766593044e366a')],
}
SIZES = {False: (200000, 10000, 10000),  # training, validation, test, as in the notes
         True: (14000, 2000, None)}      # --small-only: the test set is what is left, about 2,200
NEAR = 5.0  # mean difference of the pixels, of 255: below it, mostly one glyph rendered twice


# ---- splits ----------------------------------------------------------------------------------


def deal(labels, pool, size, random):
    """Return `size` members of `pool`, in random order, as many of each class as it allows.

    labels: int [n]. pool: indices into it. random: a RandomState. A class that runs out is made up
    for by the others.
    """
    pool = random.permutation(pool)
    rank = np.empty(len(pool), int)  # the how-manieth of its class each one is
    for label in range(10):
        mine = np.flatnonzero(labels[pool] == label)
        rank[mine] = np.arange(len(mine))
    return random.permutation(pool[np.argsort(rank, kind='mergesort')[:size]])


def commonest_label(labels, first):
    """Return for each image the label that its copies bear most often (the first of a tie), and
    how many distinct images bear several."""
    votes = np.bincount(first * 10 + labels, minlength=10 * len(labels)).reshape([-1, 10])
    return votes.argmax(axis=1)[first], int(((votes > 0).sum(axis=1) > 1).sum())


def near(images, pool, held_out, bound):
    """Return which members of `pool` are near some member of `held_out`: bool [len(pool)].

    Near: the mean absolute difference of the pixels (0 to 255) is at most `bound`. The difference
    of the means of sixteen 7x7 blocks is never larger, so a k-d tree over these finds all
    candidates, and the pixels then decide: exact, without comparing each image with each other.
    """
    from scipy.spatial import cKDTree
    blocks = [images[which].reshape([-1, 4, 7, 4, 7]).mean(axis=(2, 4), dtype=np.float32)
              .reshape([-1, 16]) for which in (pool, held_out)]
    tree, found, started = cKDTree(blocks[1]), np.zeros(len(pool), bool), time.time()
    for start in range(0, len(pool), 1000):
        candidates = tree.query_ball_point(blocks[0][start:start + 1000], 16 * bound + 0.01, p=1)
        for index, others in enumerate(candidates, start):
            if others:
                difference = images[held_out[others]].astype(np.int16) - images[pool[index]]
                found[index] = np.abs(difference).mean(axis=(1, 2)).min() <= bound
        progress('Looking for near duplicates', start, len(pool), started)
    progress('Looking for near duplicates', 1, 1, started)
    return found


def make(images, labels, smalls, sizes, bound, seed):
    """Deal distinct images to the three splits; print what was left out.

    images: uint8 [n, 28, 28]. labels: int [n]. smalls: so many of them, the first, come from the
    small archive; all of them, if there is no other: then all splits do.
    sizes: training, validation, test; a test size of None takes what the others leave.
    bound: for near(), or None. Returns the six arrays. Raises DataError where there are too few.
    """
    random = np.random.RandomState(seed)
    first = first_seen(images)
    labels, several = commonest_label(labels, first)
    distinct = np.unique(first)
    small, large = distinct[distinct < smalls], distinct[distinct >= smalls]
    print('{} images, {} distinct: {} copies left out'.format(
        len(images), len(distinct), len(images) - len(distinct)))
    print('{} distinct images bear several labels; kept under the commonest'.format(several))
    if smalls == len(images):
        large = small
    else:
        shared = len(np.unique(first[smalls:][first[smalls:] < smalls]))
        print('{} images are in both archives; left out of training and validation'.format(shared))
    train_size, valid_size, test_size = sizes
    if test_size is None:
        test_size = max(len(distinct) - train_size - valid_size, 1)

    def without(pool, held_out, name):
        pool = np.setdiff1d(pool, held_out)
        if bound is None:
            return pool
        too_near = near(images, pool, held_out, bound)
        print('{} images within {:g} of a {} image: left out'.format(too_near.sum(), bound, name))
        return pool[~too_near]

    test = deal(labels, small, test_size, random)
    large = without(large, test, 'test')
    valid = deal(labels, large, valid_size, random)
    large = without(large, valid, 'validation')
    train = deal(labels, large, train_size, random)
    if bound is None and (len(train), len(valid), len(test)) != (train_size, valid_size, test_size):
        raise DataError('there are too few distinct images: {} / {} / {} could be dealt, {} / {} / '
                        '{} are wanted; give smaller --train, --valid or --test'.format(
                            len(train), len(valid), len(test), train_size, valid_size, test_size))
    return dict(zip(KEYS, [array for chosen in (train, valid, test)
                           for array in (images[chosen], labels[chosen].astype(np.int32))]))


# ---- the command -----------------------------------------------------------------------------


def find(kind, path):
    """Return the path of the 'small' or 'large' archive: `path`, or without it a download."""
    if path is None:
        way_out = 'get it elsewhere and give --{} PATH'.format(kind)
        return fetch(ARCHIVES[kind], DOWNLOADS,
                     way_out + (', or go without it by --small-only' if kind == 'large' else ''))
    if not os.path.exists(path):
        raise DataError('there is no file {}; give the path of the {} archive'.format(path, kind))
    original = any(is_whole(path, *known[1:]) for known in ARCHIVES[kind])
    print('{} {}'.format(path, 'is the original archive' if original else 'is not the original '
                         'archive (its checksum is another); its images are taken as they are'))
    return path


def main(flags):
    started, small_only = time.time(), flags.small_only
    if small_only and flags.large:
        raise DataError('--small-only and --large exclude each other; leave one out')
    sizes = [given or usual for given, usual in
             zip((flags.train, flags.valid, flags.test), SIZES[small_only])]
    check_writable(flags.out)
    paths = [find('small', flags.small)] + ([] if small_only else [find('large', flags.large)])
    pixels, labels, counts = bytearray(), [], []
    for path in paths:
        bad = read_images(path, pixels, labels)
        print('{}: {} images read, {} unreadable ones skipped'.format(
            path, len(labels) - sum(counts), len(bad)))
        for line in bad:
            print('  ' + line)
        counts.append(len(labels) - sum(counts))
    images = np.frombuffer(pixels, np.uint8).reshape([-1, 28, 28])
    arrays = make(images, np.array(labels), counts[0], sizes, flags.near, flags.seed)
    check(arrays, flags.out)
    write(flags.out, arrays)
    print('{}: {} training, {} validation, {} test images, {:.1f} MB, {:.1f} s'.format(
        flags.out, *[len(arrays[key]) for key in KEYS[::2]], os.path.getsize(flags.out) / 1e6,
        time.time() - started))


def positive(text):
    if int(text) < 1:
        raise argparse.ArgumentTypeError('must be at least 1, not ' + text)
    return int(text)


def seed(text):
    if not 0 <= int(text) < 2 ** 32:
        raise argparse.ArgumentTypeError('must be between 0 and 2**32 - 1, not ' + text)
    return int(text)


def distance(text):
    if not 0 <= float(text) <= 255:
        raise argparse.ArgumentTypeError('must be between 0 and 255, not ' + text)
    return float(text)


def build_parser():
    parser = argparse.ArgumentParser(description=__doc__)
    for name, number, only in zip(('train', 'valid', 'test'), SIZES[False], SIZES[True]):
        parser.add_argument('--' + name, type=positive, metavar='N', help='images for {} (default: '
                            '{}, with --small-only {})'.format(name, number, only or 'the rest'))
    parser.add_argument('--small-only', action='store_true', help='make all three from the small '
                        'archive, 8 MB, without the large one, 247 MB (default: no)')
    parser.add_argument('--small', metavar='PATH', help='notMNIST_small as tar, zip or folder '
                        '(default: data/downloads, else downloaded there)')
    parser.add_argument('--large', metavar='PATH', help='notMNIST_large likewise')
    parser.add_argument('--out', metavar='FILE', default=os.path.join(HERE, 'notmnist.npz'),
                        help='what to write (default: data/notmnist.npz)')
    parser.add_argument('--near', type=distance, nargs='?', const=NEAR, metavar='D',
                        help='leave out of training and validation what is within D of an image '
                        'held out: mean difference of the pixels, 0 to 255 (default: off; --near '
                        'alone: {:g})'.format(NEAR))
    parser.add_argument('--seed', type=seed, default=42, metavar='S',
                        help='of the shuffle (default: %(default)s)')
    return parser


if __name__ == '__main__':
    show.run('notmnist', build_parser(), main)
