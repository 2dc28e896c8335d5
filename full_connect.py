"""A linear model on images of letters: logits = W x + b, trained by full-batch gradient descent.

Notes 1, "Linear Model", "TensorFlow Graph" and "TensorFlow Session": a graph describes the
computation, a session runs it, and variables keep their values from one run to the next. Every
step looks at the same 10,000 images; the gradient is exact for them, and dear.

    python full_connect.py

Test accuracy 88.3 ± 1.4% on the letters in 4 seconds, seeds 1 to 3, TensorFlow 2.21, two cores.
"""
from types import SimpleNamespace

import utils  # before TensorFlow: keeps its start-up chatter off the screen
import tensorflow.compat.v1 as tf

# ---------------------------------------------------------------------------------- constants
STEPS = 801              # updates, each from all images of the subset
BATCH_SIZE = 10000       # images: the first ones of the training set, the same in every step
LEARNING_RATE = 0.5
STDDEV = 1.0             # of the initial weights: the notes' choice; try 0.1
REPORT_EVERY = 100       # steps
SEED = 42
# ---------------------------------------------------------------------------------------------


def forward(x, stddev):
    """The linear model: x is float32 [batch, 784]; returns the logits, float32 [batch, 10]."""
    weights = tf.Variable(tf.truncated_normal([784, 10], stddev=stddev), name='weights')
    biases = tf.Variable(tf.zeros([10]), name='biases')
    return tf.matmul(x, weights) + biases                                    # [batch, 10]


def build_graph(flags, train):
    """Describe training and evaluation; train is a Split of float32 [n, 784] and [n, 10]."""
    graph = tf.Graph()
    with graph.as_default():
        tf.set_random_seed(flags.seed)

        with tf.name_scope('subset'):
            batch_x = utils.resident(train.images[:flags.batch_size])        # [batch, 784]
            batch_y = utils.resident(train.labels[:flags.batch_size])        # [batch, 10]
        # Trained on the subset; evaluated on whatever is fed.
        x = tf.placeholder_with_default(batch_x, [None, 784], name='x')
        y = tf.placeholder_with_default(batch_y, [None, 10], name='y')

        with tf.name_scope('forward'):
            logits = forward(x, flags.stddev)                                # [batch, 10]
        with tf.name_scope('loss'):
            loss = tf.reduce_mean(
                tf.nn.softmax_cross_entropy_with_logits_v2(labels=y, logits=logits))
        with tf.name_scope('train'):
            learning_rate = tf.constant(flags.lr)
            train_op = tf.train.GradientDescentOptimizer(learning_rate).minimize(loss)
        with tf.name_scope('evaluation'):
            predictions = tf.argmax(logits, 1)                               # [batch], 0 to 9
            hits = tf.equal(predictions, tf.argmax(y, 1))                    # [batch]
            accuracy = tf.reduce_mean(tf.cast(hits, tf.float32))

        return SimpleNamespace(
            graph=graph, x=x, y=y, logits=logits, loss=loss, learning_rate=learning_rate,
            train_op=train_op, predictions=predictions, accuracy=accuracy,
            variables=tf.trainable_variables(),
            init=[tf.global_variables_initializer(), tf.local_variables_initializer()])


def train(net, data, flags, log):
    """Run the graph: step, report, keep the best weights; the test set is used once, at the end."""
    with utils.session(net.graph, flags.gpu_memory) as session:
        session.run(net.init)
        best_validation, best_step, best_values = -1.0, 0, None
        for step in range(flags.steps):
            if not log.due(step):
                session.run(net.train_op)      # nothing is fetched, so nothing is waited for
                continue
            _, loss, accuracy, learning_rate = session.run(
                [net.train_op, net.loss, net.accuracy, net.learning_rate])
            validation = utils.accuracy(session, net, data.valid)
            log.report(step, loss, accuracy, validation, learning_rate)
            if validation > best_validation:
                best_validation, best_step = validation, step
                best_values = session.run(net.variables)

        for variable, value in zip(net.variables, best_values):
            variable.load(value, session)
        predictions = utils.predict(session, net, data.test.images)          # [n], 0 to 9
        return log.finish(predictions, data.test, best_validation, best_step)


def main():
    parser = utils.Flags(__doc__, STEPS, BATCH_SIZE, LEARNING_RATE, REPORT_EVERY, SEED)
    parser.flag('--stddev', 'standard deviation of the initial weights', default=STDDEV,
                type=utils.number(float, 0))
    flags = parser.parse_args()
    data = utils.load(flags.data, flags.seed if flags.shuffle else None)
    log = utils.Log(parser, flags, data)
    return train(build_graph(flags, data.train), data, flags, log)


if __name__ == '__main__':
    utils.run(main)
