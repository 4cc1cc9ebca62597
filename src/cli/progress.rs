//! Progress of long work: a bar on a terminal, nothing elsewhere.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::output::Format;

const REDRAWS_PER_SECOND_MAX: u8 = 10;

const COUNTING: &str = "{msg} {wide_bar} {human_pos}/{human_len} {eta}";

/// A bar on standard error that counts up to `of`, or turns while that is not known; hidden unless a person looks.
pub(crate) fn bar(format: Format, what: &'static str, of: Option<u64>) -> ProgressBar {
    if format == Format::Json {
        return ProgressBar::hidden();
    }
    // Standard error that is no terminal draws nothing.
    let bar = ProgressBar::with_draw_target(of, ProgressDrawTarget::stderr_with_hz(REDRAWS_PER_SECOND_MAX)).with_message(what);
    set_style(&bar, if of.is_some() { COUNTING } else { "{spinner} {msg}" });
    if of.is_none() {
        bar.enable_steady_tick(Duration::from_millis(100));
    }
    bar
}

/// Shows how much is done, once it is known of how much: of nothing, everything would seem to be done.
pub(crate) fn advance(bar: &ProgressBar, done: u64, of: u64) {
    if of > 0 {
        if bar.length() != Some(of) {
            bar.set_length(of);
            set_style(bar, COUNTING);
        }
        bar.set_position(done);
    }
}

fn set_style(bar: &ProgressBar, template: &str) {
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
}
