"""Reuse: what is restored, what stays frozen, what the cache changes (nothing), what is refused."""
import os
import re
from types import SimpleNamespace

import numpy as np
import pytest

import layers
import transfer
import utils
import tensorflow.compat.v1 as tf
from conftest import run_lesson

FLAGS = SimpleNamespace(seed=3, hidden=64, lr=0.01, batch_size=20, donor_steps=60)
SHORT = ('transfer.py --data %s --hidden 64 --lr 0.01 --steps 60 --donor-steps 60 --batch-size 20 '
         '--labels 200')


@pytest.fixture(scope='module')
def data(shapes):
    return utils.load(shapes)


@pytest.fixture(scope='module')
def donor(data, tmp_path_factory):
    """A donor of ten classes: its path, its values by name, and how many it classifies rightly."""
    path = str(tmp_path_factory.mktemp('donor') / 'donor')
    net = transfer.build_graph(FLAGS)
    made = transfer.train(net, data.train, data.test, FLAGS, 60, save=path)
    return SimpleNamespace(path=path, right=made.right, values=by_name(net, made.values))


def by_name(net, values):
    return {variable.op.name: value for variable, value in zip(net.variables, values)}


def learn(data, donor, frozen, steps=30, cached=False, reuse='layer[123]/'):
    """Values by name after training on what the donor's layers are the start of."""
    net = transfer.build_graph(FLAGS, reuse=reuse, frozen=frozen)
    made = transfer.train(net, data.train, data.test, FLAGS, steps, donor.path, cached)
    return by_name(net, made.values), made


@pytest.mark.parametrize('reuse, layers_in', [('layer[123]/', '123'), ('layer[24]/', '24')])
def test_the_layers_that_match_are_restored_and_no_others(reuse, layers_in, data, donor):
    other = SimpleNamespace(**dict(vars(FLAGS), seed=4))
    net = transfer.build_graph(other, reuse=reuse)
    made = transfer.train(net, data.train, data.test, other, 0, donor.path)
    values = by_name(net, made.values)
    assert len(values) == 10
    for name in (name for name in values if name.endswith('/weights')):
        restored = np.array_equal(values[name], donor.values[name])
        assert restored == (name.startswith('layer') and name[5] in layers_in), name


@pytest.mark.parametrize('frozen', [0, 1, 2, 4])
def test_frozen_layers_stay_to_the_bit_and_the_others_learn(frozen, data, donor):
    values, _ = learn(data, donor, frozen, reuse='layer')
    for name, before in donor.values.items():
        if name.startswith('layer'):
            assert (values[name].tobytes() == before.tobytes()) == (int(name[5]) <= frozen), name


def test_new_layers_begin_alike_in_every_way(data, donor):
    """So that the ways to learn differ in what they reuse and in nothing else."""
    nothing = transfer.build_graph(FLAGS)
    plain = by_name(nothing, transfer.train(nothing, data.train, data.test, FLAGS, 0).values)
    for frozen in (0, 2):
        values, _ = learn(data, donor, frozen, steps=0)
        for name in ('layer4/weights', 'output/weights'):
            assert values[name].tobytes() == plain[name].tobytes()


@pytest.mark.parametrize('frozen', [1, 2])
def test_the_cache_changes_nothing(frozen, data, donor, monkeypatch):
    fed, original = [], transfer.minibatches

    def spy(flags, steps, *arrays):
        fed.append(arrays[0].shape)
        return original(flags, steps, *arrays)

    monkeypatch.setattr(transfer, 'minibatches', spy)
    values, made = learn(data, donor, frozen)
    cached_values, cached = learn(data, donor, frozen, cached=True)
    assert fed == [(600, 784), (600, 64 >> (frozen - 1))]  # the frozen layers' output, not images
    assert cached.right == made.right
    for name in values:  # TensorFlow 2.21: the same bits; 1.15.5: 1e-5 apart
        np.testing.assert_allclose(cached_values[name], values[name], rtol=0, atol=1e-4)


def test_a_saved_graph_is_found_by_name_and_by_collection(data, donor):
    with tf.Graph().as_default() as graph:
        saver = tf.train.import_meta_graph(donor.path + '.meta')
        x = graph.get_tensor_by_name('x:0')
        assert [tensor.name for tensor in tf.get_collection('to_reuse')] == [
            'x:0', 'evaluation/predictions:0']
        assert x.shape.as_list() == [None, 784]
        assert 'layer1/weights' in [v.op.name for v in tf.trainable_variables('layer')]
        with tf.Session() as session:
            saver.restore(session, donor.path)
            found = session.run(tf.get_collection('to_reuse')[1], {x: data.test.images})
    hidden = data.test.images                                                # [n, units]
    for layer in range(1, 5):
        hidden = np.maximum(hidden.dot(donor.values['layer%d/weights' % layer])
                            + donor.values['layer%d/biases' % layer], 0)
    logits = hidden.dot(donor.values['output/weights']) + donor.values['output/biases']
    assert np.mean(found == logits.argmax(1)) > 0.99  # two near logits may fall either way
    assert transfer.find(donor.path, data.test) == donor.right > 150


def test_an_autoencoder_is_what_numpy_says_and_learns():
    images = np.random.RandomState(0).uniform(-0.5, 0.5, [50, 6]).astype(np.float32)
    with tf.Graph().as_default():
        tf.set_random_seed(1)
        x, keep = tf.placeholder(tf.float32, [None, 6]), tf.placeholder_with_default(1.0, [])
        hidden, loss = layers.autoencoder(x, 20, tf.nn.relu, keep, 7)
        train_op = tf.train.AdamOptimizer(0.01).minimize(loss)
        variables = tf.trainable_variables()
        assert [v.op.name for v in variables] == ['layer7/weights', 'layer7/biases',
                                                  'decoder7/weights', 'decoder7/biases']
        with tf.Session() as session:
            session.run(tf.global_variables_initializer())
            weights, biases, back, offset = session.run(variables)
            code, error = session.run([hidden, loss], {x: images})
            np.testing.assert_allclose(code, np.maximum(images.dot(weights) + biases, 0), atol=1e-6)
            again = code.dot(back) + offset
            assert error == pytest.approx(np.mean((again - images) ** 2), rel=1e-5)
            half = session.run(hidden, {x: np.ones([200, 6], np.float32), keep: 0.5})
            assert len(np.unique(half, axis=0)) > 20  # other inputs are dropped in each row
            for _ in range(300):
                session.run(train_op, {x: images})
            assert session.run(loss, {x: images}) < error / 5


def test_pretraining_leaves_the_layers_below_alone(data, tmp_path, monkeypatch):
    read = lambda count: tf.train.load_checkpoint(str(tmp_path / str(count)))
    for count in (1, 2):
        monkeypatch.setattr(transfer, 'PRETRAINED', count)
        transfer.pretrain(data.train.images, FLAGS, str(tmp_path / str(count)))
    assert sorted(read(2).get_variable_to_shape_map()) == [
        'layer%d/%s' % (layer, kind) for layer in (1, 2) for kind in ('biases', 'weights')]
    for name in ('layer1/weights', 'layer1/biases'):
        assert read(1).get_tensor(name).tobytes() == read(2).get_tensor(name).tobytes()


def test_the_lesson_from_another_folder(shapes, tmp_path):
    (tmp_path / 'temporary').mkdir()
    (tmp_path / 'here').mkdir()
    environment = dict(os.environ, TMPDIR=str(tmp_path / 'temporary'))
    command = SHORT % shapes + ' --donor %s' % (tmp_path / 'kept')
    runs = [run_lesson(words, cwd=tmp_path / 'here', env=environment)
            for words in (SHORT % shapes, command, command)]
    results = []
    for run in runs:
        assert (run.returncode, run.stderr) == (0, '')
        results.append(re.findall(r'^( *\w+ labels  .*?) +test accuracy [\d.]+% \((\d+)/200\)',
                                  run.stdout, re.M))
        assert 'frozen weights bit-equal' in run.stdout and 'CHANGED' not in run.stdout
        assert float(re.search(r'times as fast, weights within (\S+)', run.stdout).group(1)) < 1e-4
    assert not list((tmp_path / 'temporary').iterdir()) + list((tmp_path / 'here').iterdir())
    assert results[0] == results[1]                         # same seed, same log
    assert results[1][1:] == results[2] and len(results[2]) == 6  # taken, not trained again
    assert results[0][0][1] == results[0][1][1]             # found in its files: the same accuracy
    assert results[0][3][1] == results[0][4][1]             # cached: the same accuracy
    assert all(int(right) > 100 for _, right in results[0][:3])


@pytest.fixture
def refused(monkeypatch, capsys):
    """A function that runs a command which must be refused and returns its one sentence."""
    def run(command):
        monkeypatch.setattr('sys.argv', command.split())
        with pytest.raises(SystemExit) as stop:
            utils.run(transfer.main)
        printed = capsys.readouterr()
        assert (stop.value.code, printed.out) == (2, '') and len(printed.err.splitlines()) == 1
        return printed.err
    return run


@pytest.mark.parametrize('flags, said', [
    ('--reuse hidden[12]', 'matches none of layer1/biases, layer1/weights, '),
    ('--reuse [', 'is no regular expression'),
    ('--reuse .*', 'takes the output layer'),
    ('--reuse layer[13]/', 'does not restore layer2/biases layer2/weights, which --freeze 2'),
    ('--freeze 4', 'does not restore layer4/biases'),
    ('--freeze 5', '--freeze'), ('--freeze 0', '--freeze'), ('--labels 0', '--labels'),
    ('--hidden 8', '--hidden'), ('--lr 0', '--lr'), ('--data nowhere.npz', 'nowhere.npz')])
def test_refusals_before_anything_is_loaded(flags, said, refused, monkeypatch):
    if '--data' not in flags:
        monkeypatch.setattr(utils, 'load', None)
    assert said in refused('transfer.py ' + flags)


def test_more_labels_than_images_are_refused(shapes, refused):
    assert 'give at most 600' in refused('transfer.py --data %s --labels 601' % shapes)


def test_a_donor_of_other_widths_is_refused(donor, refused):
    sentence = refused('transfer.py --hidden 32 --donor %s' % os.path.dirname(donor.path))
    assert 'layer1/weights is [784, 64] in ' in sentence and '[784, 32] in this' in sentence


def test_a_broken_donor_is_refused(donor, refused, tmp_path):
    for name in os.listdir(os.path.dirname(donor.path)):
        with open(os.path.join(os.path.dirname(donor.path), name), 'rb') as file:
            (tmp_path / name).write_bytes(file.read()[:20 if name == 'donor.index' else None])
    assert 'cannot be read' in refused('transfer.py --hidden 64 --donor %s' % tmp_path)


def test_weights_that_run_away_are_refused(data):
    flags = SimpleNamespace(**dict(vars(FLAGS), lr=1e30))
    with pytest.raises(utils.Refused, match='try --lr 1e\\+29'):
        transfer.train(transfer.build_graph(flags), data.train, data.test, flags, 20)


@pytest.mark.accuracy
def test_with_100_labels_reuse_beats_training_from_nothing():
    run = run_lesson('transfer.py --labels 100 --seed 1')
    assert (run.returncode, run.stderr) == (0, '')
    accuracy = dict(re.findall(r'^ 100 labels  (.*?) +test accuracy ([\d.]+)%', run.stdout, re.M))
    nothing, frozen = float(accuracy['from nothing']), float(accuracy['donor, layers 1-2 frozen'])
    assert nothing > 75 and frozen > 84 and frozen > nothing + 4
    assert accuracy['donor, layers 1-2 frozen, cached'] == '%.1f' % frozen
