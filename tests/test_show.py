"""The contact sheets: `--show FILE` and `python -m data.show DATA FILE`."""
import os
import re
import sys

import matplotlib.image
import numpy as np
import pytest

import plots
from conftest import ROOT
from data import files, formats, letters, mnist, notmnist, show


def command(words, monkeypatch, capsys):
    """Run `python -m data.WORDS` in this process; returns code, stdout, stderr."""
    name, *rest = words.split()
    monkeypatch.setattr(sys, 'argv', [name] + rest)
    code = 0
    try:
        if name == 'show':
            files.run(name, show.build_parser(),
                      lambda flags: show.draw(flags.source, flags.path, flags.seed))
        else:
            module = {'letters': letters, 'mnist': mnist, 'notmnist': notmnist}[name]
            show.run(name, module.build_parser(), module.main)
    except SystemExit as stop:
        code = stop.code
    return (code,) + tuple(capsys.readouterr())


def pixels(path):
    """The red of a PNG: uint8 [height, width]."""
    return np.rint(255 * matplotlib.image.imread(str(path))[:, :, 0]).astype(np.uint8)


def cells(sheet):
    """What stands between the grey gaps of a sheet, [n, 28, 28], in reading order."""
    found = []
    for y in range(sheet.shape[0] - plots.CELL):
        for x in np.flatnonzero(sheet[y, :-plots.CELL] == 150):
            frame = sheet[y:y + plots.CELL, x:x + plots.CELL]
            if all((edge == 150).all() for edge in (frame[0], frame[-1], frame[:, 0],
                                                    frame[:, -1])):
                found.append(frame[1:-1, 1:-1])
    return np.array(found)


def test_the_sheet_shows_images_of_each_class_and_split(tmp_path, monkeypatch, capsys):
    """The classes are told by their grey level, the splits by the last bit."""
    arrays = {}
    for bit, (split, count) in enumerate((('train', 90), ('valid', 5), ('test', 40))):
        labels = np.repeat(np.arange(10), count)
        images = np.zeros([len(labels), 28, 28], np.uint8) + (labels * 10 + bit)[:, None, None]
        images[np.arange(len(labels)), 0, 0] = np.arange(len(labels)) % count  # which it is
        arrays.update({split + '_dataset': images, split + '_labels': labels})
    formats.write(str(tmp_path / 'a.npz'), arrays)
    seen = []
    for seed in (' --seed 1', ' --seed 1', ' --seed 2'):
        done = command('show %s %s%s' % (tmp_path / 'a.npz', tmp_path / 'a.png', seed),
                       monkeypatch, capsys)
        assert done == (0, '%s: from 900 training, 50 validation and 400 test images\n' % (
            tmp_path / 'a.png'), '')
        seen.append(cells(pixels(tmp_path / 'a.png')))
    assert (seen[0] == seen[1]).all() and (seen[0] != seen[2]).any()
    which = seen[0][:, 0, 0].astype(int)
    body = seen[0][:, 1:].reshape([len(seen[0]), -1]).astype(int)
    assert (body == body[:, :1]).all()  # each image whole, pixel for pixel
    for bit, (shown, there) in enumerate(((72, 90), (5, 5), (18, 40))):
        for label in range(10):
            mine = which[body[:, 0] == label * 10 + bit]
            assert len(mine) == shown == len(set(mine)) and mine.max() < there
    assert sorted(os.listdir(str(tmp_path))) == ['a.npz', 'a.png']


@pytest.mark.parametrize('name', ['letters', 'mnist', 'notmnist'])
def test_every_data_set_has_show(name, shapes, tmp_path, monkeypatch, capsys):
    """--show draws what is there, under its name; what would make it is not called."""
    read = []
    monkeypatch.setattr(show, 'read', lambda source: read.append(source) or formats.read(shapes))
    monkeypatch.delattr(sys.modules['data.' + name], 'write')
    done = command('%s --show %s' % (name, tmp_path / 'a.png'), monkeypatch, capsys)
    assert done[0] == 0 and done[2] == '' and read == [name]
    assert min(pixels(tmp_path / 'a.png').shape) > 1200
    with open(os.path.join(ROOT, 'data', name + '.py')) as file:
        assert re.search(r"^    show\.run\('%s', " % name, file.read(), re.M)


@pytest.mark.parametrize('words, said', [
    ('letters --show a.jpg', 'a.jpg is not the name of a PNG'),
    ('letters --show .png', '.png is not the name of a PNG'),
    ('letters --show nowhere/a.png', 'there is no folder nowhere'),
    ('letters --show folder.png', 'folder.png cannot be written (Is a directory): give another'),
    ('letters --show a.png --out b.npz', '--show draws data/letters.npz as it is'),
    ('letters folder.png --show a.png', '--show draws data/letters.npz as it is'),
    ('mnist --source folder.png --show a.png', '--show draws data/mnist.npz as it is'),
    ('notmnist --small-only --show a.png', '--show draws data/notmnist.npz as it is'),
    ('letters', 'give a FONTDIR'),
    ('show nowhere.npz a.png', 'there is no file or folder nowhere.npz'),
    ('show letters', 'the following arguments are required: FILE'),
])
def test_what_is_wrong_is_one_sentence(words, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'folder.png').mkdir()
    code, out, sentence = command(words, monkeypatch, capsys)
    assert (code, out, len(sentence.splitlines())) == (2, '', 1)
    assert said in sentence and sentence.startswith('python -m data.%s: ' % words.split()[0])
    assert os.listdir(str(tmp_path)) == ['folder.png'] and not os.listdir('folder.png')


def test_a_picture_that_fails_leaves_the_old_one(shapes, tmp_path, monkeypatch, capsys):
    (tmp_path / 'a.png').write_bytes(b'old')

    def full(figure, part, **_):
        with open(part, 'wb') as file:
            file.write(b'half')
        raise OSError(28, 'No space left on device')
    monkeypatch.setattr(plots.plt.Figure, 'savefig', full)
    code, _, sentence = command('show %s %s' % (shapes, tmp_path / 'a.png'), monkeypatch, capsys)
    assert code == 2 and 'No space left on device' in sentence
    assert os.listdir(str(tmp_path)) == ['a.png'] and (tmp_path / 'a.png').read_bytes() == b'old'


def test_a_name_in_another_script_or_with_dollars_is_drawn(shapes, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    os.link(shapes, '字母$a_b^$.npz')
    assert command('show 字母$a_b^$.npz a.png', monkeypatch, capsys)[::2] == (0, '')
    assert sorted(os.listdir('.')) == ['a.png', '字母$a_b^$.npz']


@pytest.mark.parametrize('source, first', [
    ('letters', 'A'), ('mnist', '0'), ('notmnist', 'A'), ('data/notmnist_small.npz', 'A'),
    ('x/mnist.pkl.gz', '0'), ('x/mnist/', '0')])
def test_class_names(source, first):
    names = formats.class_names(source)
    assert names[0] == first and len(names) == 10
