import { MAX_OUTPUT, tooLong } from './case-run.js';

/**
 * Modules that programs of exercises use, loaded once into the snapshot that every interpreter starts from: what is not
 * among them is read from the standard library's archive when it is imported.
 */
const LOADED =
  'abc, array, atexit, bisect, collections, contextlib, copy, dataclasses, datetime, decimal, enum, fractions, functools, ' +
  'heapq, io, itertools, json, math, numbers, operator, os, queue, random, re, statistics, string, sys, textwrap, time, ' +
  'traceback, types, typing, unicodedata';

/**
 * Runs in the interpreter from which the snapshot is made, and leaves `dunwu_run`. It guards nothing: what holds a program
 * is outside the interpreter, and a program that breaks this only breaks itself. `dunwu_run` takes JSON, and gives it.
 */
export const PYTHON_HARNESS = `
import ${LOADED}

def dunwu_harness():
    # Kept from before the program: it may have a json of its own, and rightly so.
    loads, dumps, module_type, modules = json.loads, json.dumps, types.ModuleType, sys.modules
    isfinite, stdout, at_exit = math.isfinite, sys.stdout, atexit._run_exitfuncs
    LARGEST = 2**53 - 1

    # How large a number may be written as text guards servers; here the limits on steps and time do.
    sys.set_int_max_str_digits(0)

    def leave(code=0):
        raise SystemExit(code)

    os._exit = leave

    # The clock stands still, so that nobody need wait for it.
    time.sleep = lambda seconds: None

    def plain(value):
        if value is None or isinstance(value, (bool, str)):
            return value
        if isinstance(value, int):
            return int(value) if -LARGEST <= value <= LARGEST else str(int(value))
        if isinstance(value, float):
            if not isfinite(value):
                raise TypeError(f'the result holds {value}, which JSON has no form for')
            return str(int(value)) if value.is_integer() and abs(value) > LARGEST else float(value)
        if isinstance(value, (list, tuple, collections.deque)):
            return [plain(inner) for inner in value]
        if isinstance(value, dict):
            return {key if isinstance(key, str) else dumps(plain(key)): plain(inner) for key, inner in value.items()}
        raise TypeError(f'the result holds a {type(value).__name__}, expected a value of JSON')

    def describe(error):
        lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == 'program.py']
        line = getattr(error, 'lineno', None) if isinstance(error, SyntaxError) else lines[-1] if lines else None
        text = error.msg if isinstance(error, SyntaxError) else str(error)
        return f"{type(error).__name__}: {text[:200]}" + ('' if line is None else f' (line {line})')

    def run(request):
        request = loads(request)
        entry = request.get('entry')
        at = 'compile'
        try:
            code = compile(request['program'], 'program.py', 'exec', dont_inherit=True)
            at = 'run'
            name = '__main__' if entry is None else 'solution'
            module = modules[name] = module_type(name)
            try:
                exec(code, module.__dict__)
                if entry is not None:
                    function = module.__dict__.get(entry)
                    if not callable(function):
                        raise NameError(f'there is no function {entry}')
                    value = plain(function(*loads(request['args'])))
                    text = dumps(value, ensure_ascii=False, separators=(',', ':'))
                    if len(text) > ${MAX_OUTPUT}:
                        return dumps({'kind': 'failed', 'at': 'run', 'why': 'returned ${tooLong}'})
                    return dumps({'kind': 'returned', 'text': text})
            except SystemExit as end:
                if entry is not None or end.code not in (None, 0):
                    raise
            at_exit()
            sys.stdout.flush()
            if sys.stdout is not stdout:
                stdout.flush()
            return dumps({'kind': 'printed', 'text': ''})
        except MemoryError:
            why = 'MemoryError: out of memory'
        except BaseException as error:
            try:
                why = describe(error)
            except BaseException:
                why = 'an error that cannot be told'
        return dumps({'kind': 'failed', 'at': at, 'why': why})

    return run

dunwu_run = dunwu_harness()
`;

/**
 * Runs in each interpreter before its program: takes away the bridge from Python to JavaScript. Behind it is no more than
 * the language itself (python-child.ts), and programs have no use for it.
 */
export const PYTHON_STRIP = `
def dunwu_strip():
    import gc, random, sys
    bridge = ('js', 'pyodide_js', '_pyodide_core', 'pyodide', '_pyodide', 'micropip', 'webbrowser')
    sys.meta_path[:] = [f for f in sys.meta_path if not type(f).__module__.startswith(('_pyodide', 'pyodide'))]
    for name in [*sys.modules, *bridge]:
        if name.split('.')[0] in bridge:
            sys.modules[name] = None
    random.seed(0)

dunwu_strip()
del dunwu_strip
`;
