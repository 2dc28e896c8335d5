"""The ground floor: arrays, flags, log."""
import argparse

import numpy as np
import pytest

import utils
import tensorflow.compat.v1 as tf


def test_reformat_against_loops():
    random = np.random.RandomState(1)
    images, labels = random.randint(0, 256, [7, 28, 28]).astype(np.uint8), np.arange(7) + 3
    flat, one_hot = utils.reformat(images, labels)
    assert flat.shape == (7, 784) and flat.dtype == np.float32
    assert one_hot.shape == (7, 10) and one_hot.dtype == np.float32
    for n in range(7):
        for row in (0, 5, 27):
            for column in (0, 13, 27):
                expected = images[n, row, column] / 255 - 0.5
                assert flat[n, 28 * row + column] == pytest.approx(expected, abs=1e-7)
        assert one_hot[n].tolist() == [float(k == n + 3) for k in range(10)]


def test_reformat_spans_minus_to_plus_a_half():
    images = np.array([0, 255], np.uint8).repeat(784).reshape(2, 28, 28)
    flat, _ = utils.reformat(images, np.array([0, 9]))
    assert flat.min() == -0.5 and flat.max() == 0.5


def test_load_shuffles_images_and_labels_together(shapes):
    plain, shuffled = utils.load(shapes), utils.load(shapes, shuffle_seed=3)
    assert not np.array_equal(plain.train.labels, shuffled.train.labels)
    def rows(split):
        return sorted(map(bytes, np.hstack([split.images, split.labels])))
    assert rows(plain.train) == rows(shuffled.train)
    assert np.array_equal(plain.test.images, shuffled.test.images)


def test_resident_data_stay_out_of_the_graph_and_of_checkpoints():
    array = np.random.RandomState(0).rand(1000, 784).astype(np.float32)
    graph = tf.Graph()
    with graph.as_default():
        held = utils.resident(array)
        init = tf.local_variables_initializer()
        assert held not in tf.global_variables() + tf.trainable_variables()
    assert graph.as_graph_def().ByteSize() < 10000
    with utils.session(graph) as session:
        session.run(init)
        assert np.array_equal(session.run(held), array)
        with pytest.raises(RuntimeError), graph.as_default():
            tf.constant(1)


def test_resident_images_are_the_arrays_own_memory():
    images, _ = utils.reformat(np.zeros([100, 28, 28], np.uint8), np.zeros(100, int))
    with tf.Graph().as_default() as graph:
        held = utils.resident(images)
        init = tf.local_variables_initializer()
    with utils.session(graph) as session:
        session.run(init)
        images[7, 11] = 3  # seen in the graph: a copy would double the memory of a large set
        assert session.run(held)[7, 11] == 3


def test_an_operation_run_alone_is_prepared_once_and_runs_each_time():
    with tf.Graph().as_default() as graph:
        count, step = tf.Variable(0), tf.placeholder_with_default(1, [])
        op = count.assign_add(step).op
        init = tf.global_variables_initializer()
    with utils.session(graph) as session:
        session.run(init)
        assert [session.run(op) for _ in range(3)] == [None] * 3
        assert set(session.prepared) == {init, op}
        session.run(op, {step: 10})  # fed: not the prepared one
        assert session.run(count) == 13 and session.run([op, count])[0] is None


def test_predictions_and_accuracy_in_chunks(monkeypatch):
    random = np.random.RandomState(0)
    images = random.rand(57, 784).astype(np.float32)
    labels = np.eye(10, dtype=np.float32)[random.randint(0, 10, 57)]
    graph = tf.Graph()
    with graph.as_default():
        x = tf.placeholder(tf.float32, [None, 784])
        net = argparse.Namespace(x=x, predictions=tf.argmax(x[:, :10], 1))
    expected = images[:, :10].argmax(1)
    with utils.session(graph) as session:
        for chunk in (57, 10, 1):
            monkeypatch.setattr(utils, 'EVALUATION_CHUNK', chunk)
            assert np.array_equal(utils.predict(session, net, images), expected)
            share = utils.accuracy(session, net, utils.Split(images, labels))
            assert share == (expected == labels.argmax(1)).mean()


@pytest.mark.parametrize('kind, low, high, open_low, good, bad', [
    (int, 1, 9, False, ['1', '9'], ['0', '10', '1.5', 'x', '']),
    (float, 0, 1, True, ['0.001', '1'], ['0', '-1', '1.01', 'nan', 'inf', '1e400']),
    (float, 0, float('inf'), False, ['0', '3e38'], ['-0.1', 'nan', 'inf', '1e39']),
])
def test_numbers(kind, low, high, open_low, good, bad):
    parse = utils.number(kind, low, high, open_low)
    for text in good:
        assert parse(text) == kind(text)
    for text in bad:
        with pytest.raises(argparse.ArgumentTypeError):
            parse(text)


def test_changed_flags_are_named_as_typed():
    parser = utils.Flags('', steps=10, batch_size=2, learning_rate=0.5, report_every=1, seed=1)
    parser.flag('--decay', 'x', action='store_true', default=True)
    parser.flag('--no-decay', 'x', action='store_false', dest='decay')
    assert parser.changed(parser.parse_args([])) == ''
    flags = parser.parse_args(['--steps', '20', '--batch-size', '1', '--shuffle', '--no-decay',
                               '--data', 'mnist', '--seed', '3'])  # these two stand elsewhere
    assert parser.changed(flags) == '--steps 20 --batch-size 1 --shuffle --no-decay'


def test_flags_may_not_be_abbreviated(capsys):
    parser = utils.Flags('', steps=10, batch_size=2, learning_rate=0.5, report_every=1, seed=1)
    with pytest.raises(SystemExit) as exit:
        parser.parse_args(['--step', '20'])
    assert exit.value.code == 2 and len(capsys.readouterr().err.splitlines()) == 1
