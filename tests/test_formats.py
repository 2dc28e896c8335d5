"""Reading and writing: every stored form comes out the same, every damaged one as a sentence."""
import base64
import bz2
import gzip
import os
import pickle
import struct
import zlib

import numpy as np
import pytest

from data import formats, png
from data.formats import KEYS, DataError

# Written by Python 2.7 with NumPy 1.16: the notes' pickle with one image per split, protocol 0 and
# 2, and an mnist.pkl.gz (before gzip); packed with zlib and base64.
NOTES_0 = (
    b'eNrt3DtvwjAUhuH9/JFkaFHMNUgVOwsDrEjISQxC4mIlpoJ/XxOupSnt0AHUdziDFevDspwnRDpKmFklo8Dler6aLH'
    b'RiFkUgti7parO0u1q6zk1tuVm4uc5zvZNJbtL1qnD5JnViGxIe5skqO1y3TQn7kbhRkATihrblh6osd5yZuZ01YtsS'
    b'joJ5MxA/e391aDt+WsMv5S2QwWDQf1VSlg9L+lHkL4y3kfIVncr/QFKMgne9mGeXpccy88ua3ayje1nHrCPnvFZFnj'
    b'OFu8SpqDJPqapA911cpp0ujNvn1avzGue8fj0uy83KPZpe75Fq/rxJuusrDnvj7XTqy+zrdhD7jYyPK02mX8c685W+'
    b'+IG5Hfx5+jnw/0T/ZnvJvZv7Fyf4OaOf467GDDiCDdgAJeRADqJhAzZ4/8EMzMAMOIIN2AAl5EAOUIIN2CAXMzADM+'
    b'AINmADlJADOUAJNkzv1EVY9mdetRG2qtsI2xVthKp5bnjkEHOIefbx7OOZihmYAUewARukIwdyEA0bsAEbcIQZmAFH'
    b'sAEboIQcyEE0bMAG7z9whBmYAUewARughBzI8RjRnz6DeNUh2KnuEIzvdwgCHARBELTxpwgz4Ag2YIN05EAO5AAl2I'
    b'ANOMIMzIAj2IAN0pEDOXj/gQ3YgA04wgzMgCPYgA3SkQM5iH6AG7tsD6x9ADa+a7Q=')
NOTES_2 = (
    b'eNrtmc1Kw0AUhWfSH20a36APkIVk5VLEtQNZiFmXyY8kkKZNMhGyEOqiFN9EQV9B36xtkqlYMYUqtRg4gQkh93Bzc5'
    b'nvkkOmyn1MdUsTCQ+iYchtL0ydKBtNcsMZJ54xykIR8CThuTpMPGccpSLJHKHGilSpkSujcYuRmUXt+XXc1hlldLYW'
    b'uCKfeGrcsZTgjBFGC0FXZy2LnpumebUsjurEiLAfrTYlpLiwtDseBu66Hl/xP5MfyeR+txB3pLgvvFTUaY83tL114k'
    b'rrcsFTT3wR9yoxG7DB3C+Kvf0oVt1W7M2lRsjzk36xXCyq9TAl7+V6fTl9K9e2WHl/X7HNZ/1lrO7dfhv7ab8O1ctD'
    b'9fm/9rKJe3afvWzingX/4B/8g3/wD/7Bf/P2bGFJTqT3qvMk/Q1PokrDgYGHgYeBh4EH/sE/+Af/4B/8g3/wv2usNB'
    b'zy50qd4dC+Gw4MDAwMDAx8MIB/8A/+wT/4B//gH/zv2i9hZ8YKZm8TOA==')
MNIST_2 = (
    b'eNrtl72KwkAURjPJxp/RwscQi1QWFotuvYMpxNRiYiTCGp1xUqTSRsVX8SU1mKhZUXBZFcVvYNJ8l0m45FzmzFTHD4'
    b'bj0HBGwjWGwY8cdIXohrQjXGfkT6QIHEk5iauo34tTrjJlbhF72eJamRFGmiVtkdT0ZDh2Kf+w1H6VKYxENXqZaRb5'
    b'NE3zexOt3YMp0l61v4pKaq3r8a404j1t3Dab3jBLv+u/2bnvv0f2Dr18VJ+ftZev+M+Cf/AP/sE/+Af/4B/8/y2Ttk'
    b'e8o5BkdkIy9yIBGdQSAcleEhArRw6nLH4dkzt4jafvPQVzBnMGcwb3DPAP/sE/+Af/4B/8g//r+nXiKfnEU7KRhOgX'
    b'JISekRAMEQwRDBFcIsA/+Af/4B/8g3/wD/6v6+WJhBRSEpI/SsiSF40t9oEfSA==')
SHARED = os.path.join(os.path.dirname(__file__), '..', '..', 'shared', 'data')
LEVELS = (np.arange(3 * 784).reshape([3, 28, 28]) * 37 % 256 // 64 * 85).astype(np.uint8)


def make_arrays(train=24, valid=4, test=4, seed=0):
    """Random letters in few grey levels, labels in turn."""
    random = np.random.RandomState(seed)
    arrays = {}
    for split, count in (('train', train), ('valid', valid), ('test', test)):
        arrays[split + '_dataset'] = (random.randint(0, 4, [count, 28, 28]) * 85).astype(np.uint8)
        arrays[split + '_labels'] = (np.arange(count) * 7 % 10).astype(np.int32)
    return arrays


def same(found, wanted):
    for key in KEYS:
        assert found[key].dtype == (np.uint8 if key.endswith('dataset') else np.int32)
        np.testing.assert_array_equal(found[key], wanted[key])
    return True


def refused(source, *words):
    """The one sentence with which `source` is refused, all `words` in it."""
    with pytest.raises(DataError) as caught:
        formats.read(str(source))
    sentence = str(caught.value)
    assert '\n' not in sentence and 'Traceback' not in sentence
    for word in words:
        assert word in sentence
    return sentence


def notes(images):
    return ((images - 128.0) / 255).astype(np.float32)


def write_idx(folder, arrays, dash='-', packed=False):
    train = [np.concatenate([arrays['train_' + kind], arrays['valid_' + kind]])
             for kind in ('dataset', 'labels')]
    for name, array in (('train-images', train[0]), ('train-labels', train[1]),
                        ('t10k-images', arrays['test_dataset']),
                        ('t10k-labels', arrays['test_labels'])):
        content = struct.pack('>{}I'.format(1 + array.ndim), 0x800 + array.ndim, *array.shape)
        content += array.astype(np.uint8).tobytes()
        path = folder / '{}{}idx{}-ubyte{}'.format(name, dash, array.ndim, '.gz' if packed else '')
        path.write_bytes(gzip.compress(content) if packed else content)


def chunk(kind, content):
    return struct.pack('>I', len(content)) + kind + content + struct.pack(
        '>I', zlib.crc32(kind + content))


def make_png(image, kinds=(0, 1, 2, 3, 4), header=None):
    """A PNG of an image uint8 [28, 28] (or rows of bytes), its rows filtered by `kinds` in turn."""
    image = np.asarray(image, np.uint8).astype(int)
    rows, above = b'', np.zeros(image.shape[1], int)
    for y, line in enumerate(image):
        left, corner = np.append(0, line[:-1]), np.append(0, above[:-1])
        guess = left + above - corner
        far = [np.abs(guess - side) for side in (left, above, corner)]
        paeth = np.where((far[0] <= far[1]) & (far[0] <= far[2]), left,
                         np.where(far[1] <= far[2], above, corner))
        kind = kinds[y % len(kinds)]
        guess = (0 * left, left, above, (left + above) // 2, paeth, paeth)[kind]
        rows += bytes([kind]) + ((line - guess) % 256).astype(np.uint8).tobytes()
        above = line
    header = header or struct.pack('>2I5B', 28, 28, 8, 0, 0, 0, 0)
    return (png.SIGNATURE + chunk(b'IHDR', header) + chunk(b'IDAT', zlib.compress(rows)) +
            chunk(b'IEND', b''))


def write_pngs(folder, images, labels, classes='ABCDEFGHIJ'):
    for number, (image, label) in enumerate(zip(images, labels)):
        place = folder / classes[label]
        place.mkdir(parents=True, exist_ok=True)
        (place / '{:05d}.png'.format(number)).write_bytes(make_png(image))


# ---- our own file ----------------------------------------------------------------------------


def test_write_then_read(tmp_path):
    arrays = make_arrays()
    formats.write(str(tmp_path / 'a.npz'), arrays)
    formats.write(str(tmp_path / 'b.npz'), arrays)
    assert same(formats.read(str(tmp_path / 'a.npz')), arrays)
    assert (tmp_path / 'a.npz').read_bytes() == (tmp_path / 'b.npz').read_bytes()
    assert sorted(os.listdir(str(tmp_path))) == ['a.npz', 'b.npz']


@pytest.mark.parametrize('error', [KeyboardInterrupt, OSError(28, 'No space left on device')])
def test_interrupted_write_leaves_the_old_file_and_no_other(tmp_path, monkeypatch, error):
    path = tmp_path / 'a.npz'
    formats.write(str(path), make_arrays())
    before = path.read_bytes()

    def fail(*_, **__):
        raise error

    monkeypatch.setattr(np.lib.format, 'write_array', fail)
    with pytest.raises(KeyboardInterrupt if error is KeyboardInterrupt else DataError):
        formats.write(str(path), make_arrays(seed=1))
    assert path.read_bytes() == before and os.listdir(str(tmp_path)) == ['a.npz']


def test_write_into_no_folder_or_over_a_folder(tmp_path):
    for path in (tmp_path / 'none' / 'a.npz', tmp_path):
        with pytest.raises(DataError, match='cannot be written'):
            formats.write(str(path), make_arrays())
    assert os.listdir(str(tmp_path)) == []


def test_missing_prepared_data_names_the_command(tmp_path, monkeypatch):
    monkeypatch.setattr(formats, 'HERE', str(tmp_path))
    for name in ('letters', 'notmnist', 'mnist'):
        refused(name, 'python -m data.' + name)


def test_named_data_do_not_depend_on_the_working_directory(tmp_path, monkeypatch):
    assert os.path.isabs(formats.HERE)
    monkeypatch.setattr(formats, 'HERE', str(tmp_path))
    formats.write(str(tmp_path / 'mnist.npz'), make_arrays())
    monkeypatch.chdir('/')
    assert same(formats.read('mnist'), make_arrays())


# ---- pickles ---------------------------------------------------------------------------------


@pytest.mark.parametrize('stored', [NOTES_0, NOTES_2, MNIST_2])
@pytest.mark.parametrize('pack', [bytes, gzip.compress])
def test_pickles_of_python_2(tmp_path, stored, pack):
    (tmp_path / 'x').write_bytes(pack(zlib.decompress(base64.b64decode(stored))))
    found = formats.read(str(tmp_path / 'x'))
    for split, image, label in zip(formats.SPLITS, LEVELS, (1, 5, 9)):
        np.testing.assert_array_equal(found[split + '_dataset'], image[None])
        assert found[split + '_labels'].tolist() == [label]


@pytest.mark.parametrize('protocol', range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize('floats', [False, True])
@pytest.mark.parametrize('core', [None, b'numpy._core', b'numpy.core'])
def test_pickles_of_python_3_and_both_numpys(tmp_path, protocol, floats, core):
    arrays = make_arrays()
    stored = {key: notes(value) if floats and key.endswith('dataset') else value
              for key, value in arrays.items()}
    stored['train_dataset'] = np.asfortranarray(stored['train_dataset'])
    content = pickle.dumps(stored, protocol)
    if core:
        if protocol >= 4:
            pytest.skip('its frames would not fit another name')
        for name in (b'numpy._core', b'numpy.core'):
            content = content.replace(b'c' + name + b'.', b'c' + core + b'.')
    (tmp_path / 'notMNIST.pickle').write_bytes(content)
    assert same(formats.read(str(tmp_path / 'notMNIST.pickle')), arrays)


# ---- the other forms -------------------------------------------------------------------------


def test_keras_npz(tmp_path):
    arrays = make_arrays(22, 2)
    whole = {kind: np.concatenate([arrays['train_' + kind], arrays['valid_' + kind]])
             for kind in ('dataset', 'labels')}
    np.savez(str(tmp_path / 'k.npz'), x_train=whole['dataset'], y_train=whole['labels'],
             x_test=arrays['test_dataset'], y_test=arrays['test_labels'].astype(np.uint8))
    assert same(formats.read(str(tmp_path / 'k.npz')), arrays)


@pytest.mark.parametrize('dash', '-.')
@pytest.mark.parametrize('packed', [False, True])
def test_idx_folder_and_each_of_its_files(tmp_path, dash, packed):
    arrays = make_arrays(22, 2)
    write_idx(tmp_path, arrays, dash, packed)
    for source in [tmp_path] + sorted(tmp_path.iterdir()):
        assert same(formats.read(str(source)), arrays)


@pytest.mark.parametrize('pack', [gzip.compress, bz2.compress])
def test_mnist_pkl_gz_keeps_its_validation_set(tmp_path, pack):
    arrays = make_arrays()
    pairs = tuple(((arrays[split + '_dataset'].reshape([-1, 784]) / 256.0).astype(np.float32),
                   arrays[split + '_labels'].astype(np.int64)) for split in formats.SPLITS)
    (tmp_path / 'm').write_bytes(pack(pickle.dumps(pairs, 2)))
    assert same(formats.read(str(tmp_path / 'm')), arrays)


@pytest.mark.parametrize('dtype', ['f2', 'f4', 'f8', '>f4'])
@pytest.mark.parametrize('normalise', [
    lambda p: (p - 128) / 255, lambda p: p / 255 - 0.5, lambda p: p / 255, lambda p: p / 256,
    lambda p: p * 1.0, lambda p: p / 127.5 - 1])
def test_every_usual_pixel_range(tmp_path, normalise, dtype):
    wanted = make_arrays()
    wanted['train_dataset'].flat[:256] = np.arange(256)
    arrays = dict(wanted)
    for key in KEYS[::2]:
        arrays[key] = normalise(wanted[key].astype(np.float64)).astype(dtype)
    arrays['test_dataset'] = arrays['test_dataset'][:, :, :, None]
    np.savez(str(tmp_path / 'x.npz'), **arrays)
    found = formats.read(str(tmp_path / 'x.npz'))
    np.testing.assert_array_equal(found['train_dataset'], wanted['train_dataset'])


def test_standardised_pixels_are_refused_not_guessed(tmp_path):
    arrays = make_arrays()
    arrays['train_dataset'] = arrays['train_dataset'] / 80.0 - 1.2
    np.savez(str(tmp_path / 'x.npz'), **arrays)
    refused(tmp_path / 'x.npz', 'pixels run from', '0 to 255')


@pytest.mark.parametrize('classes', ['ABCDEFGHIJ', '0123456789'])
def test_png_folder_is_split_without_sharing_images(tmp_path, classes):
    random = np.random.RandomState(3)
    images = random.randint(0, 256, [100, 28, 28]).astype(np.uint8)
    images = np.concatenate([images, images[::2], images[::4]])
    labels = np.arange(100) % 10
    labels = np.concatenate([labels, labels[::2], labels[::4]])
    write_pngs(tmp_path, images, labels, classes)
    found = formats.read(str(tmp_path))
    sets = [{image.tobytes() for image in found[key]} for key in KEYS[::2]]
    assert not (sets[0] & sets[1] or sets[0] & sets[2] or sets[1] & sets[2])
    assert sum(len(found[key]) for key in KEYS[::2]) == 175
    for key in KEYS[1::2]:
        assert set(found[key]) == set(range(10))
    assert not formats.sorted_labels(found['train_labels'])
    label_of = {image.tobytes(): label for image, label in zip(images, labels)}
    for split in formats.SPLITS:
        for image, label in zip(found[split + '_dataset'], found[split + '_labels']):
            assert label_of[image.tobytes()] == label
    assert same(formats.read(str(tmp_path)), found)


@pytest.mark.parametrize('folders', [('train', 'valid', 'test'),
                                     ('notMNIST_large', None, 'notMNIST_small')])
def test_png_folder_with_splits(tmp_path, folders):
    arrays = make_arrays(120, 20, 20)
    for split, folder in zip(formats.SPLITS, folders):
        if folder:
            write_pngs(tmp_path / folder, arrays[split + '_dataset'], arrays[split + '_labels'])
    found = formats.read(str(tmp_path))
    sizes = [len(found[key]) for key in KEYS[::2]]
    assert sizes == ([120, 20, 20] if folders[1] else [110, 10, 20])
    assert ({image.tobytes() for image in found['test_dataset']} ==
            {image.tobytes() for image in arrays['test_dataset']})


def test_png_kinds_and_damage(capfd):
    image = LEVELS[0]
    grey = make_png(image)
    rgb = struct.pack('>2I5B', 28, 28, 8, 2, 0, 0, 0)
    colour = make_png(np.repeat(image, 3, axis=1), (0,), rgb)
    files = [grey, b'', grey[:-20], grey[:60] + b'!' + grey[61:], b'GIF89a', colour, grey[:-12],
             make_png(image[:20], (0,)), make_png(image, (5,)), make_png(image, (4, 3)),
             make_png(image, (0,), struct.pack('>2I5B', 32, 28, 8, 0, 0, 0, 0)),
             colour[:90] + b'!' + colour[91:]]
    images, good, bad = png.decode(files)
    assert good.tolist() == [0, 5, 9] and sorted(bad) == [1, 2, 3, 4, 6, 7, 8, 10, 11]
    for decoded in images:
        np.testing.assert_array_equal(decoded, image)
    assert bad[1] == 'empty' and '32x28' in bad[10]
    assert capfd.readouterr().err == ''


def test_decoder_agrees_with_tensorflow_on_every_filter():
    random = np.random.RandomState(0)
    images = random.randint(0, 256, [40, 28, 28]).astype(np.uint8)
    files = [make_png(image, random.randint(0, 5, 28)) for image in images]
    np.testing.assert_array_equal(png.decode(files)[0], images)
    np.testing.assert_array_equal(np.array(png._decode_others(files)), images)


def test_unreadable_pngs_are_named_or_too_many(tmp_path, capsys):
    arrays = make_arrays(120, 4, 4)
    write_pngs(tmp_path, arrays['train_dataset'], arrays['train_labels'])
    (tmp_path / 'C' / 'broken.png').write_bytes(b'')
    formats.read(str(tmp_path))
    assert 'broken.png: empty' in capsys.readouterr().err
    for number in range(9):
        (tmp_path / 'C' / 'broken{}.png'.format(number)).write_bytes(b'')
    refused(tmp_path, '10 unreadable images', 'broken.png')


# ---- what is refused -------------------------------------------------------------------------


def test_empty_splits_are_said_to_be_empty(tmp_path):
    arrays = make_arrays()
    arrays.update(test_dataset=arrays['test_dataset'][:0], test_labels=arrays['test_labels'][:0])
    np.savez(str(tmp_path / 'x.npz'), **arrays)
    refused(tmp_path / 'x.npz', 'test_dataset is empty')
    (tmp_path / 'x.pickle').write_bytes(pickle.dumps(arrays))
    refused(tmp_path / 'x.pickle', 'test_dataset is empty')


def test_idx_that_disagrees_with_its_header(tmp_path):
    write_idx(tmp_path, make_arrays())
    path = tmp_path / 't10k-images-idx3-ubyte'
    whole = path.read_bytes()
    for content in (whole[:-1], whole + b'x', whole[:7], b'', b'\0\0\x08\1' + whole[4:],
                    whole[:4] + b'\xff' * 12 + whole[16:]):
        path.write_bytes(content)
        refused(tmp_path, 't10k-images')
    path.unlink()
    refused(tmp_path, 'no file t10k-images-idx3-ubyte')


def test_what_unpacks_to_too_much_is_refused_early(tmp_path, monkeypatch):
    from data import files
    (tmp_path / 'x.gz').write_bytes(gzip.compress(bytes(50 << 20)))
    formats.write(str(tmp_path / 'x.npz'), make_arrays())
    monkeypatch.setattr(files, 'LIMIT', 1000)
    monkeypatch.setattr(formats, 'LIMIT', 1000)
    refused(tmp_path / 'x.gz', 'unpacks to more than')
    refused(tmp_path / 'x.npz', 'unpacks to more than')


# ---- the rest --------------------------------------------------------------------------------


def test_sorted_labels():
    assert formats.sorted_labels(np.repeat(np.arange(10), 5))
    assert not formats.sorted_labels(np.tile(np.arange(10), 5))
    assert not formats.sorted_labels(np.zeros(5, int))
    assert not formats.sorted_labels([])


def test_quiet_stderr_hides_native_output_and_replays_it_on_failure(capfd):
    with formats.quiet_stderr():
        os.write(2, b'chatter')
    assert capfd.readouterr().err == ''
    with pytest.raises(ImportError):
        with formats.quiet_stderr():
            os.write(2, b'the reason')
            raise ImportError('no such module')
    assert capfd.readouterr().err == 'the reason'


@pytest.mark.skipif(not os.path.isdir(os.path.join(SHARED, 'mnist')), reason='needs ../shared/data')
def test_genuine_mnist():
    found = formats.read(os.path.join(SHARED, 'mnist'))
    assert [len(found[key]) for key in KEYS[::2]] == [55000, 5000, 10000]
    assert found['train_labels'][:5].tolist() == [5, 0, 4, 1, 9]
    assert not formats.sorted_labels(found['train_labels'])


@pytest.mark.skipif(not os.path.isdir(SHARED), reason='needs ../shared/data')
def test_an_archive_as_data_names_the_command():
    refused(os.path.join(SHARED, 'notMNIST_small.tar.gz'), 'python -m data.notmnist --small-only')
