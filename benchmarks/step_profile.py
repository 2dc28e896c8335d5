"""Where the time of a training step goes: operation by operation, and its products timed alone.

    python benchmarks/step_profile.py               a minute; results/steps/profile.log

The step of a lesson is run with TensorFlow's own trace, after as many steps without it. Then each
of its matrix products is run alone, on matrices of the same sizes, twenty times in one call: what
is left between that and the trace is lost to the company of other operations, that between it and
the ceiling to TensorFlow's products at these sizes.
"""
import time
from collections import Counter

import numpy as np

import runs
import step_variants
from step_variants import NETWORKS, products
from utils import tf

STEPS = 100     # of training, with and without the trace
REPEATED = 20   # times a product is run in one call
ROUNDS = 7      # of which the median counts


def train(session, net, feed):
    """Train so many steps, as the lesson does."""
    for _ in range(STEPS):
        session.run(net.train_op, feed)


def traced(session, net, feed):
    """Microseconds and calls of each kind of operation in a step, two Counters {kind: mean}."""
    spent, calls = Counter(), Counter()
    for _ in range(STEPS):
        trace = tf.RunMetadata()
        session.run(net.train_op, feed, tf.RunOptions(trace_level=tf.RunOptions.SOFTWARE_TRACE),
                    trace)
        for device in trace.step_stats.dev_stats:
            for node in device.node_stats:
                kind = node.timeline_label.partition(' = ')[2].partition('(')[0] or node.node_name
                spent[kind] += (node.op_end_rel_micros - node.op_start_rel_micros) / STEPS
                calls[kind] += 1 / STEPS
    return spent, calls


def seconds(function, *arguments):
    """Of one call of the function, the median of ROUNDS."""
    times = []
    for _ in range(ROUNDS + 1):  # the first warms up
        start = time.perf_counter()
        function(*arguments)
        times.append(time.perf_counter() - start)
    return np.median(times[1:])


def product(a_shape, b_shape, **transposed):
    """Seconds that a float32 matrix product takes alone."""
    with tf.Graph().as_default() as graph:
        a, b = [tf.Variable(tf.random_uniform(shape)) for shape in (a_shape, b_shape)]
        done = []
        for _ in range(REPEATED):
            with tf.control_dependencies(done[-1:]):
                done.append(tf.matmul(a, b, **transposed).op)
        init = tf.global_variables_initializer()
    # Products of the same matrices are one to TensorFlow's optimizer.
    config = tf.ConfigProto()
    config.graph_options.rewrite_options.disable_meta_optimizer = True
    with tf.Session(graph=graph, config=config) as session:
        session.run(init)
        return seconds(session.run, done[-1]) / REPEATED


def main():
    parser = runs.parser(__doc__, again=False)
    parser.add_argument('--only', nargs='+', choices=list(NETWORKS), default=list(NETWORKS))
    for network in parser.parse_args().only:
        session, net, _, feed = step_variants.lesson(network)
        print('%s: %s, TensorFlow %s' % (network, NETWORKS[network].command, tf.__version__))
        print('%8.0f us a step' % (1e6 * seconds(train, session, net, feed) / STEPS))
        spent, calls = traced(session, net, feed)
        for kind, micros in spent.most_common(10):
            print('%8.0f us  %4.1f calls  %s' % (micros, calls[kind], kind))
        print('  its products alone:')
        total = 0.0
        for what, operations, a, b, transposed in products(NETWORKS[network].sizes):
            taken = product(a, b, **transposed)
            total += taken
            print('%8.0f us  %4.0f GFLOP/s  %s' % (1e6 * taken, operations / taken / 1e9, what))
        print('%8.0f us together\n' % (1e6 * total), flush=True)
        session.close()
    multiply, _ = step_variants.ceiling(None)
    print('the ceiling: %.0f GFLOP/s' % (
        step_variants.CEILING_FLOPS / seconds(multiply, 1) / 1e9))


if __name__ == '__main__':
    main()
