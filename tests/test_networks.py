"""Each network's forward pass and gradients against NumPy, written a second time in float64."""
import argparse

import numpy as np
import pytest

import utils
import tensorflow.compat.v1 as tf

import deep_nn
import full_connect
import layers
import nn_overfit
import relu_nn
import sgd

BATCH = 32
TOLERANCE = 1e-5


def flags(**changed):
    """The flags that build_graph reads, for a small batch."""
    values = dict(seed=1, batch_size=BATCH, lr=0.5, stddev=1.0, offset_range=0, l2=0.0, dropout=1.0,
                  decay=False, layers=6, hidden=64, schedule='constant')
    table = {name[2:].replace('-', '_'): default for name, default, *_ in deep_nn.FLAGS}
    for rest in (values, changed):  # a remedy is off unless a test turns it on
        table.update(rest)
    return argparse.Namespace(logdir=None, steps=101, **table)


def numpy_network(parameters, x, y):
    """Logits, loss and gradients of a ReLU network [W1, b1, W2, b2, ...] in float64."""
    parameters = [p.astype(np.float64) for p in parameters]
    layers = list(zip(parameters[::2], parameters[1::2]))
    inputs = [x.astype(np.float64)]
    for weights, biases in layers[:-1]:
        inputs.append(np.maximum(inputs[-1] @ weights + biases, 0))
    logits = inputs[-1] @ layers[-1][0] + layers[-1][1]
    shifted = logits - logits.max(1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    loss = -(y * log_p).sum(1).mean()
    delta, gradients = (np.exp(log_p) - y) / len(x), []
    for i in reversed(range(len(layers))):
        gradients = [inputs[i].T @ delta, delta.sum(0)] + gradients
        delta = (delta @ layers[i][0].T) * (inputs[i] > 0)
    return logits, loss, gradients


def close(actual, expected):
    """Largest difference, as a part of the largest expected value."""
    return np.abs(actual - expected).max() / max(np.abs(expected).max(), 1e-12) < TOLERANCE


CASES = [(full_connect, {}), (sgd, {}), (relu_nn, {}), (nn_overfit, {}),
         (nn_overfit, {'l2': 0.002}), (deep_nn, {}), (deep_nn, {'l2': 0.001}),
         (deep_nn, {'layers': 2}), (deep_nn, {'layers': 9})]


@pytest.mark.parametrize('lesson, changed', CASES)
def test_one_step_agrees_with_numpy(lesson, changed, split):
    values = flags(**changed)
    net = lesson.build_graph(values, split)
    loss_tensor = list(net.losses.values()) if hasattr(net, 'losses') else [net.loss]
    with utils.session(net.graph) as session:
        session.run(net.init)
        before = session.run(net.variables)
        x, y = split.images[:BATCH], split.labels[:BATCH]      # the first minibatch: offset 0
        expected_logits, expected_loss, gradients = numpy_network(before, x, y)
        assert close(session.run(net.logits, {net.x: x}), expected_logits)
        losses = session.run(loss_tensor)
        assert losses[0] == pytest.approx(expected_loss, rel=TOLERANCE)
        if values.l2:
            penalty = values.l2 * sum((w.astype(np.float64) ** 2).sum() / 2 for w in before[::2])
            assert losses[1] == pytest.approx(penalty, rel=TOLERANCE)
            gradients[::2] = [g + values.l2 * w for g, w in zip(gradients[::2], before[::2])]
        session.run(net.train_op)
        for old, new, gradient in zip(before, session.run(net.variables), gradients):
            # What the step subtracted, and what float32 loses of it beside a large weight.
            lost = np.spacing(np.abs(old).max())
            assert np.abs((old - new) - values.lr * gradient).max() <= (
                TOLERANCE * max(np.abs(values.lr * gradient).max(), 1e-3) + lost)


def test_minibatches_follow_the_offset_of_the_notes(split):
    net = sgd.build_graph(flags(), split)
    with utils.session(net.graph) as session:
        session.run(net.init)
        for step in range(7):
            offset = step * BATCH % (60 - BATCH)
            assert np.array_equal(session.run(net.x), split.images[offset:offset + BATCH])
            assert np.array_equal(session.run(net.y), split.labels[offset:offset + BATCH])
            session.run(net.train_op)


def test_offset_range_limits_the_images_seen(split):
    net = nn_overfit.build_graph(flags(offset_range=10), split)
    with utils.session(net.graph) as session:
        session.run(net.init)
        for step in range(12):
            offset = step * BATCH % 10
            assert np.array_equal(session.run(net.x), split.images[offset:offset + BATCH])
            session.run(net.train_op)


def test_the_linear_model_sees_the_same_subset_in_every_step(split):
    net = full_connect.build_graph(flags(batch_size=50), split)
    with utils.session(net.graph) as session:
        session.run(net.init)
        for _ in range(2):
            assert np.array_equal(session.run(net.x), split.images[:50])
            session.run(net.train_op)


def test_the_decay_decays(split):
    net = nn_overfit.build_graph(flags(decay=True), split)
    with net.graph.as_default():
        jump = tf.assign(tf.train.get_global_step(), nn_overfit.DECAY_STEPS)
    with utils.session(net.graph) as session:
        session.run(net.init)
        assert session.run(net.learning_rate) == pytest.approx(0.5)
        session.run(jump)
        assert session.run(net.learning_rate) == pytest.approx(0.5 * nn_overfit.DECAY_RATE)


@pytest.mark.parametrize('lesson', [nn_overfit, deep_nn])
def test_dropout_acts_in_training_and_not_in_evaluation(lesson, split):
    net = lesson.build_graph(flags(dropout=0.5, layers=2, hidden=1024), split)
    with utils.session(net.graph) as session:
        session.run(net.init)
        x = split.images[:1]
        whole = session.run(net.logits, {net.x: x})
        assert np.array_equal(whole, session.run(net.logits, {net.x: x}))
        if lesson is nn_overfit:
            draw = lambda step: session.run(net.logits, {net.x: x, net.keep_prob: 0.5})
        else:  # the mask hangs on the step alone: another step, another mask
            def draw(step):
                net.step.load(step, session)
                return session.run(net.logits, {net.x: x, net.training: True})
            assert np.array_equal(draw(3), draw(3))
        draws = np.array([draw(step) for step in range(400)])
        assert draws.std(0).min() > 0
        # One hidden layer: the logits are linear in it, so dropout leaves their mean as it was.
        assert np.abs(draws.mean(0) - whole).max() < 6 * draws.std(0).max() / 20
        # h_i m_i / keep has variance h_i^2 (1 - keep) / keep: at 0.5, the sum of (h_i w_i)^2.
        weights1, biases1, weights2, _ = session.run(net.variables)
        hidden = np.maximum(x @ weights1 + biases1, 0)
        expected = np.sqrt((hidden ** 2) @ (weights2 ** 2))
        assert draws.std(0) == pytest.approx(expected, rel=0.2)


def test_dropout_fades_with_depth_and_never_ends():
    keep = [1 - 0.5 * layers.dropout_share(layer, 6) for layer in range(5)]
    of_the_notes = [0.5, 0.5, 0.5 + 0.5 / 7, 0.5 + 1.5 / 7, 0.5 + 3 / 7]
    assert keep == pytest.approx(of_the_notes)
    for depth in range(2, 40):
        shares = [layers.dropout_share(layer, depth) for layer in range(depth - 1)]
        assert all(0 < b <= a <= 1 for a, b in zip(shares, shares[1:])) and shares[0] == 1


def test_layers_halve_in_width(split):
    net = deep_nn.build_graph(flags(hidden=1024), split)
    widths = [variable.shape.as_list() for variable in net.variables[::2]]
    assert widths == [[784, 1024], [1024, 512], [512, 256], [256, 128], [128, 64], [64, 10]]


def test_initial_weights_fit_their_layer(split):
    net = deep_nn.build_graph(flags(hidden=1024), split)
    with utils.session(net.graph) as session:
        session.run(net.init)
        for weights in session.run(net.variables)[::2]:
            # truncated at two deviations, a normal keeps 0.8796 of its standard deviation
            assert weights.std() == pytest.approx(0.8796 * (2 / weights.shape[0]) ** 0.5, rel=0.1)


@pytest.mark.parametrize('layers', range(2, 17))
def test_any_depth_builds_and_learns_one_minibatch(layers, split):
    net = deep_nn.build_graph(flags(layers=layers, hidden=128, lr=0.1, dropout=0.9), split)
    with utils.session(net.graph) as session:
        session.run(net.init)
        x, y = split.images[:BATCH], split.labels[:BATCH]
        feed = {net.x: x, net.y: y}
        losses = [session.run(net.losses, feed)['cross entropy']]
        for _ in range(40):
            for _ in range(10):
                session.run(net.train_op, {net.x: x, net.y: y, net.training: True})
            losses.append(session.run(net.losses, feed)['cross entropy'])
        # The lowest of all: with dropout at this depth a single one may jump.
        assert min(losses) < 0.5 * losses[0]
