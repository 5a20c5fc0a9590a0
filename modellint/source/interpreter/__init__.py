"""The abstract interpreter, in layers: each module adds one class to a chain, and knows only the classes below it.

values              what an expression may be
records             what is noted while running
machine             the journal, branches, joins
expressions         `a + b`, names, comprehensions
conditions          tests, what they decide, what holds in an arm
containers          displays, items, iteration
statements          assignments, branches, `try`, `with`
loops               rounds that stand for all
definitions         functions, classes, imports
python_builtins     `len`, `zip`, `isinstance`, `getattr`
calls, contexts     binding arguments, running functions, objects, `with`
modules             an nn.Module: construction, attributes, modes, fills
module_methods      `eval()`, `to()`, `apply()`, `parameters()`
layers, forward     one layer, one forward
training            losses, backward, optimizers
notes               torch calls, methods not called
torch_functions     everything named from outside the project
value_methods       methods of tensors, optimizers, lists, strings
entry               how a file is entered: the class Interpreter
"""
