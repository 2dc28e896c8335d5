"""Draw what a data set holds, a grid of images for each class: `python -m data.show DATA FILE`.

DATA is what the lessons take as --data: letters, notmnist, mnist or a path in any form. The images
are drawn at random from each split, the same ones each time; --seed gives others.
"""
import argparse
import os
import warnings

from data import files
from data.files import DataError
from data.formats import class_names, read

SEED = 42
SPLITS = (('training', 'train'), ('validation', 'valid'), ('test', 'test'))


def draw(source, path, seed=SEED):
    """Draw a data set as a PNG and print its sizes. Raises DataError where that cannot be done.

    source: as formats.read() takes it. path: of the PNG, in a folder that is there.
    """
    folder, name = os.path.split(path)
    folder = folder or '.'
    stem, ending = os.path.splitext(name)
    if ending != '.png':
        raise DataError('{} is not the name of a PNG; give a FILE that ends in .png'.format(path))
    if not os.path.isdir(folder):
        raise DataError('there is no folder {}; give a FILE in one that is there'.format(folder))
    arrays = read(source)
    splits = {split: (arrays[key + '_dataset'], arrays[key + '_labels']) for split, key in SPLITS}
    title = os.path.basename(os.path.abspath(source)).replace('$', r'\$')  # no formula
    import plots  # matplotlib takes half a second to load: only where it draws
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # a title in letters that the font lacks shows boxes
        try:
            plots.contact_sheet(folder, stem, title, splits, class_names(source), seed)
        except plots.Refused as failure:
            raise DataError(str(failure))
    print('{}: from {} training, {} validation and {} test images'.format(
        path, *[len(labels) for _, labels in splits.values()]))


def run(name, parser, main):
    """Run main(flags) as `python -m data.NAME`, or draw that data set where --show asks for it."""
    def draw_or_make(flags):
        if flags.show is None:
            main(flags)
        elif flags == parser.parse_args(['--show', flags.show]):
            draw(name, flags.show)
        else:
            raise DataError('--show draws data/{}.npz as it is and makes nothing; leave the rest '
                            'out, or draw another file by `python -m data.show`'.format(name))

    parser.add_argument('--show', metavar='FILE', help='make nothing, draw images of each class of '
                        'data/{}.npz into this PNG'.format(name))
    files.run(name, parser, draw_or_make)


def build_parser():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('source', metavar='DATA', help='letters, notmnist, mnist or a path')
    parser.add_argument('path', metavar='FILE', help='the PNG to write')
    parser.add_argument('--seed', type=int, default=SEED, metavar='S',
                        help='of the choice of images (default: %(default)s)')
    return parser


if __name__ == '__main__':
    files.run('show', build_parser(), lambda flags: draw(flags.source, flags.path, flags.seed))
