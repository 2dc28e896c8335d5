"""The same three networks, trained the same way, in five ways; see steps.py.

Each function takes a network's name and returns train(steps) and loss(): the mean cross entropy of
the first 2,000 training images with nothing dropped. Peers are written as their own users would.
"""
import contextlib
import importlib
import io
import os
import sys
from collections import namedtuple
from types import SimpleNamespace

import numpy as np

import runs  # noqa: F401 (puts the lessons on the path)
from data import formats  # not utils: TensorFlow and JAX do not load into one process

BATCH_SIZE = 128
NETWORKS = {
    'linear': SimpleNamespace(
        command='sgd.py', sizes=[784, 10], stddev=1.0, rate=0.5, keep=[], l2=0.0, decay=False),
    '1,024 units': SimpleNamespace(
        command='relu_nn.py', sizes=[784, 1024, 10], stddev=1.0, rate=0.5, keep=[1.0], l2=0.0,
        decay=False),
    'six layers': SimpleNamespace(
        command='deep_nn.py --layers 6 --dropout --l2 0.001',
        sizes=[784, 1024, 512, 256, 128, 64, 10], stddev=None, rate=0.3,
        keep=[1 - 0.5 * max(1 - i * (i - 1) / 7 / 2, 0.1) for i in range(5)], l2=0.001, decay=True),
}
DECAY = (1 / 32) ** (1 / 20000)  # of the six layers' learning rate, each step
EVALUATED = 2000                 # images
Split = namedtuple('Split', 'images labels')
CEILING_SIZE = 2048
CEILING_FLOPS = 2 * CEILING_SIZE ** 3


def products(sizes):
    """A step's products, layer by layer: what it is, operations, shapes of a and b, transposed?

    Forward, gradient of the weights and of the inputs; the first layer's inputs are images and need
    none.
    """
    for layer, (inputs, outputs) in enumerate(zip(sizes, sizes[1:]), 1):
        x, w, z = [BATCH_SIZE, inputs], [inputs, outputs], [BATCH_SIZE, outputs]
        some = [('forward', x, w, {}), ('gradient of the weights', x, z, {'transpose_a': True}),
                ('gradient of the inputs', z, w, {'transpose_b': True})]
        for what, a, b, transposed in some[:2] if layer == 1 else some:
            yield ('layer %d, %s' % (layer, what), 2 * BATCH_SIZE * inputs * outputs, a, b,
                   transposed)


def initial(net):
    """Initial weights and biases as the lessons draw them; by NumPy, for the peers."""
    draw = np.random.RandomState(42)
    layers = []
    for inputs, outputs in zip(net.sizes, net.sizes[1:]):
        weights = draw.normal(size=(inputs, outputs))
        while (np.abs(weights) > 2).any():  # a truncated normal draws anew beyond two deviations
            beyond = np.abs(weights) > 2
            weights[beyond] = draw.normal(size=beyond.sum())
        weights *= net.stddev or np.sqrt(2 / inputs)
        layers.append((weights.astype(np.float32), np.zeros(outputs, np.float32)))
    return layers


def letters():
    """Training images float32 [n, 784] and one-hot labels float32 [n, 10], as utils.load's."""
    arrays = formats.read('letters')
    images = arrays['train_dataset'].reshape(-1, 784).astype(np.float32) / 255 - 0.5
    return Split(images, np.eye(10, dtype=np.float32)[arrays['train_labels']])


def lesson(network):
    """The lesson up to train(): a session at its initial weights, net, data and a step's feed."""
    import utils
    command = NETWORKS[network].command.split()
    module = importlib.import_module(command[0][:-3])
    caught = SimpleNamespace()
    module.train = lambda net, data, flags, log: vars(caught).update(net=net, data=data)
    sys.argv = command
    with contextlib.redirect_stdout(io.StringIO()):
        module.main()
    session = utils.session(caught.net.graph)
    session.run(caught.net.init)
    feed = {caught.net.training: True} if hasattr(caught.net, 'training') else None
    return session, caught.net, caught.data, feed


def ours(network):
    """The lesson itself: its graph, and train()'s step."""
    session, net, data, feed = lesson(network)
    split = data.train

    def train(steps):
        for _ in range(steps):
            session.run(net.train_op, feed)

    def loss():
        first = net.losses['cross entropy'] if hasattr(net, 'losses') else net.loss
        return float(session.run(first, {net.x: split.images[:EVALUATED],
                                         net.y: split.labels[:EVALUATED]}))
    return train, loss


def plain(network):
    """The notes' way: each minibatch is fed; loss and predictions are fetched at each step."""
    from utils import tf
    net, split = NETWORKS[network], letters()
    graph = tf.Graph()
    with graph.as_default():
        x = tf.placeholder(tf.float32, [None, 784])
        y = tf.placeholder(tf.float32, [None, 10])
        dropped = tf.placeholder(tf.bool, [])
        hidden, penalty = x, 0.0
        for i, (weights, biases) in enumerate(initial(net)):
            weights, biases = tf.Variable(weights), tf.Variable(biases)
            penalty += net.l2 * tf.nn.l2_loss(weights)
            logits = tf.matmul(hidden, weights) + biases                     # [batch, units]
            if i < len(net.keep):
                hidden = tf.nn.relu(logits)
                if net.keep[i] < 1:
                    rate = tf.where(dropped, 1 - net.keep[i], 0.0)
                    hidden = tf.nn.dropout(hidden, rate=rate)
        data_loss = tf.reduce_mean(
            tf.nn.softmax_cross_entropy_with_logits_v2(labels=y, logits=logits))
        loss = data_loss + penalty if net.l2 else data_loss
        step = tf.Variable(0, trainable=False)
        rate = net.rate
        if net.decay:
            rate = tf.train.exponential_decay(net.rate, step, 1, DECAY)
        train_op = tf.train.GradientDescentOptimizer(rate).minimize(loss, global_step=step)
        predictions = tf.nn.softmax(logits)
        init = tf.global_variables_initializer()
    session = tf.Session(graph=graph)
    session.run(init)
    done = [0]

    def train(steps):
        for _ in range(steps):
            offset = done[0] * BATCH_SIZE % (len(split.labels) - BATCH_SIZE)
            feed = {x: split.images[offset:offset + BATCH_SIZE],
                    y: split.labels[offset:offset + BATCH_SIZE], dropped: True}
            session.run([train_op, loss, predictions], feed)
            done[0] += 1

    def evaluate():
        return float(session.run(data_loss, {x: split.images[:EVALUATED], dropped: False,
                                             y: split.labels[:EVALUATED]}))
    return train, evaluate


def torch(network, compiled=False):
    """PyTorch: modules, weight decay in the optimizer, data in tensors, nothing fetched."""
    import torch
    from torch import nn
    torch.set_num_threads(os.cpu_count())
    net, split = NETWORKS[network], letters()
    images = torch.from_numpy(split.images)
    labels = torch.from_numpy(split.labels.argmax(1))
    modules = []
    for i, (weights, biases) in enumerate(initial(net)):
        linear = nn.Linear(*weights.shape)
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(weights.T))
            linear.bias.copy_(torch.from_numpy(biases))
        modules.append(linear)
        if i < len(net.keep):
            modules.append(nn.ReLU())
            if net.keep[i] < 1:
                modules.append(nn.Dropout(1 - net.keep[i]))
    model = nn.Sequential(*modules)
    optimizer = torch.optim.SGD(
        [{'params': [p for p in model.parameters() if p.dim() == 2], 'weight_decay': net.l2},
         {'params': [p for p in model.parameters() if p.dim() == 1]}], lr=net.rate)
    scheduler = (torch.optim.lr_scheduler.ExponentialLR(optimizer, DECAY) if net.decay else None)
    forward = torch.compile(model) if compiled else model
    done = [0]

    def train(steps):
        model.train()
        for _ in range(steps):
            offset = done[0] * BATCH_SIZE % (len(labels) - BATCH_SIZE)
            loss = nn.functional.cross_entropy(forward(images[offset:offset + BATCH_SIZE]),
                                               labels[offset:offset + BATCH_SIZE])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if scheduler:
                scheduler.step()
            done[0] += 1

    def evaluate():
        model.eval()
        with torch.no_grad():
            return float(nn.functional.cross_entropy(model(images[:EVALUATED]),
                                                     labels[:EVALUATED]))
    return train, evaluate


def torch_compiled(network):
    """The same, compiled by torch.compile."""
    return torch(network, compiled=True)


def jax(network, scan=False):
    """JAX: one jitted function of the parameters, which are donated; slices cut inside it."""
    import functools

    import jax
    import jax.numpy as jnp
    net, split = NETWORKS[network], letters()
    images, labels = jnp.asarray(split.images), jnp.asarray(split.labels)
    state = [(jnp.asarray(weights), jnp.asarray(biases)) for weights, biases in initial(net)]

    def logits_of(parameters, x, key=None):
        for i, (weights, biases) in enumerate(parameters):
            x = x @ weights + biases                                         # [batch, units]
            if i < len(net.keep):
                x = jax.nn.relu(x)
                if key is not None and net.keep[i] < 1:
                    kept = jax.random.bernoulli(jax.random.fold_in(key, i), net.keep[i], x.shape)
                    x = jnp.where(kept, x / net.keep[i], 0.0)
        return x

    def cross_entropy(parameters, x, y, key=None):
        return -jnp.mean(jnp.sum(y * jax.nn.log_softmax(logits_of(parameters, x, key)), 1))

    def total(parameters, x, y, key):
        loss = cross_entropy(parameters, x, y, key)
        if net.l2:
            loss += net.l2 * sum(jnp.sum(weights ** 2) / 2 for weights, _ in parameters)
        return loss

    def step(parameters, number, images, labels, key):
        offset = number * BATCH_SIZE % (len(split.labels) - BATCH_SIZE)
        x = jax.lax.dynamic_slice_in_dim(images, offset, BATCH_SIZE)
        y = jax.lax.dynamic_slice_in_dim(labels, offset, BATCH_SIZE)
        gradients = jax.grad(total)(parameters, x, y, jax.random.fold_in(key, number))
        rate = net.rate * (DECAY ** number if net.decay else 1.0)
        return jax.tree.map(lambda value, gradient: value - rate * gradient, parameters, gradients)

    @functools.partial(jax.jit, donate_argnums=0)
    def one(parameters, number, images, labels, key):
        return step(parameters, number, images, labels, key)

    @functools.partial(jax.jit, donate_argnums=0, static_argnums=2)
    def many(parameters, first, count, images, labels, key):
        def body(parameters, number):
            return step(parameters, number, images, labels, key), None
        return jax.lax.scan(body, parameters, first + jnp.arange(count))[0]

    key, done = jax.random.key(42), [0]

    def train(steps):
        nonlocal state
        if scan:
            state = many(state, done[0], steps, images, labels, key)
        else:
            for number in range(done[0], done[0] + steps):
                state = one(state, number, images, labels, key)
        jax.block_until_ready(state)
        done[0] += steps

    def evaluate():
        return float(cross_entropy(state, images[:EVALUATED], labels[:EVALUATED]))
    return train, evaluate


def jax_scan(network):
    """The same, with the loop over steps inside the jitted function."""
    return jax(network, scan=True)


def ceiling(_):
    """A large matrix product by TensorFlow, as the machine's limit: a step is one product."""
    import utils
    tf = utils.tf
    with tf.Graph().as_default() as graph:
        size = [CEILING_SIZE, CEILING_SIZE]
        a, b = [tf.Variable(tf.random_uniform(size, seed=seed)) for seed in (1, 2)]
        product = tf.matmul(a, b).op
        init = tf.global_variables_initializer()
    session = utils.session(graph)
    session.run(init)

    def train(steps):
        for _ in range(steps):
            session.run(product)
    return train, lambda: float('nan')
