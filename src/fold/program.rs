//! Compiles the step of a fold.

use std::rc::Rc;

use jaq_core::data::JustLut;
use jaq_core::load::{self, Arena, File, Loader};
use jaq_core::{Compiler, Ctx, Filter, Vars};
use jaq_json::Val;

use super::error::FoldError;

type Data = JustLut<Val>;

/// Functions of the library whose answer depends on when, where or by whom they are called, or that end the process:
/// a fold is a function of its events alone.
const FUNCTIONS_LEFT_OUT: [&str; 6] = ["now", "env", "localtime", "strflocaltime", "halt", "stderr_empty"];

/// Definitions of the library that need one of those.
const DEFINITIONS_LEFT_OUT: [&str; 3] = ["halt", "halt_error", "stderr"];

/// What the interpreter says of `.a.b += 1` where `.a` is null; other jq programs make an object of it.
const NULL_UPDATED: &str = "cannot use null as iterable";

const NULL_UPDATED_HINT: &str = "; an update makes no object of null: write .a //= {} | .a.b += 1";

/// The compiled step of a fold: a jq filter from the state (`.`) and the event (`$event`) to the next state.
///
/// The event is the object of its line in `streams/`. The language is that of jaq 3, without `input`, `inputs`,
/// modules and what is not a function of the events (`now`, `env`, local time, `halt`, `stderr`). Unlike in
/// jq, an update makes no object of null: `.a //= {} | .a.b += 1`. Compiling and running take a stack that grows with the program: do both in a worker ([`super::Worker`]).
#[derive(Clone)]
pub struct Program {
    filter: Rc<Filter<Data>>,
}

impl Program {
    /// Compiles a step; comments in front of it, such as the settings of a definition, do no harm.
    ///
    /// # Errors
    ///
    /// What is no jq, with line and column of its first place.
    pub fn compile(step: &str) -> Result<Self, FoldError> {
        let defs = jaq_core::defs().chain(jaq_std::defs()).chain(jaq_json::defs());
        let defs = defs.filter(|def| !DEFINITIONS_LEFT_OUT.contains(&def.name));
        let funs = jaq_core::funs::<Data>().chain(jaq_std::funs()).chain(jaq_json::funs());
        let funs = funs.filter(|(name, ..)| !FUNCTIONS_LEFT_OUT.contains(name));
        let arena = Arena::default();
        let modules = Loader::new(defs).load(&arena, File { code: step, path: () }).map_err(|errors| load_error(step, errors))?;
        let no_imports = load::import(&modules, |_| Err("a fold imports nothing".to_owned()));
        no_imports.map_err(|errors| load_error(step, errors))?;
        let compiler = Compiler::default().with_funs(funs).with_global_vars(["$event"]);
        let filter = compiler.compile(modules).map_err(|errors| compile_error(step, errors))?;
        Ok(Self { filter: Rc::new(filter) })
    }

    /// Runs the step once; `state` is consumed so that a large one is changed in place.
    pub(super) fn run(&self, state: Val, event: Val) -> Result<Val, FoldError> {
        let context = Ctx::<Data>::new(&self.filter.lut, Vars::new([event]));
        let mut values = self.filter.id.run((context, state));
        let value = match values.next() {
            Some(Ok(value)) => value,
            Some(Err(exception)) => return Err(run_error(exception)),
            None => return Err(FoldError::step("the step gave no value; it must give one for every event")),
        };
        match values.next() {
            None => Ok(value),
            Some(Ok(_)) => Err(FoldError::step("the step gave more than one value; it must give one for every event")),
            Some(Err(exception)) => Err(run_error(exception)),
        }
    }
}

fn run_error(exception: jaq_core::Exn<'_, Val>) -> FoldError {
    match exception.get_err() {
        Ok(error) => {
            let error = error.to_string();
            let hint = if error.starts_with(NULL_UPDATED) { NULL_UPDATED_HINT } else { "" };
            FoldError::step(format!("the step failed: {error}{hint}"))
        }
        Err(_) => FoldError::step("the step left a label that is not open"),
    }
}

fn load_error(step: &str, errors: load::Errors<&str, ()>) -> FoldError {
    let Some((_, error)) = errors.into_iter().next() else { return FoldError::program("the step cannot be read") };
    let (message, part) = match error {
        load::Error::Io(imports) => match imports.into_iter().next() {
            Some((path, message)) => (format!("import of \"{path}\": {message}"), path),
            None => (String::new(), ""),
        },
        load::Error::Lex(errors) => match errors.into_iter().next() {
            Some((expected, found)) => (unexpected(expected.as_str(), found), found),
            None => (String::new(), ""),
        },
        load::Error::Parse(errors) => match errors.into_iter().next() {
            Some((expected, found)) => (unexpected(expected.as_str(), found), found),
            None => (String::new(), ""),
        },
    };
    place(FoldError::program(format!("the step is no jq: {message}")), step, part)
}

fn compile_error(step: &str, errors: jaq_core::compile::Errors<&str, ()>) -> FoldError {
    let undefined = errors.into_iter().flat_map(|(_, errors)| errors).next();
    let Some((name, what)) = undefined else { return FoldError::program("the step cannot be compiled") };
    let message = format!("the step uses {} \"{name}\", which does not exist here", what.as_str());
    place(FoldError::program(message), step, name)
}

fn unexpected(expected: &str, found: &str) -> String {
    let found: String = found.chars().take(20).collect();
    if found.is_empty() { format!("expected {expected}, found its end") } else { format!("expected {expected}, found \"{found}\"") }
}

/// The place of a slice of `step` in it; a slice of anything else (the library's own text) has none.
fn place(error: FoldError, step: &str, part: &str) -> FoldError {
    let offset = (part.as_ptr() as usize).checked_sub(step.as_ptr() as usize);
    match offset.filter(|offset| *offset <= step.len()) {
        Some(offset) => error.at_offset(step, offset),
        None => error,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn error_of(step: &str) -> FoldError {
        Program::compile(step).err().unwrap()
    }

    #[test]
    fn what_is_no_jq_is_refused_with_its_place() {
        for (step, place, part) in [
            (".a +", (1, 5), "found its end"),
            ("# a comment\n. | )", (2, 5), "found \")\""),
            (".\n| frob(1)", (2, 3), "frob"),
            ("$event | $other", (1, 10), "$other"),
            ("\"abc", (1, 5), "closing quote"),
            ("import \"a\" as a; .", (1, 9), "import"),
            ("import \"a\" as $a; $a", (1, 9), "import"),
        ] {
            let error = error_of(step);
            assert_eq!((error.line, error.column), (Some(place.0), Some(place.1)), "{step:?}: {error}");
            assert!(error.message.contains(part), "{step:?}: {error}");
        }
    }

    #[test]
    fn the_library_compiles_without_what_is_left_out() {
        for step in ["map(.a) | add", "@json", "fromdate", "test(\"a\")", "$event.event_data | debug"] {
            assert!(Program::compile(step).is_ok(), "{step:?}");
        }
    }

    #[test]
    fn nothing_depends_on_clock_zone_or_environment() {
        for step in ["now", "env", "$ENV", "localtime", "halt", "halt_error", "stderr", "input", "inputs"] {
            let error = error_of(step);
            assert!(error.message.contains(step), "{step:?}: {error}");
        }
    }
}
