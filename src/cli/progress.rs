//! Progress of long work: a bar on a terminal, nothing elsewhere.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::output::Format;

const REDRAWS_PER_SECOND_MAX: u8 = 10;

/// A bar on standard error that counts up to `of`, or turns if that is not known; hidden unless a person looks.
pub(crate) fn bar(format: Format, what: &'static str, of: Option<u64>) -> ProgressBar {
    if format == Format::Json {
        return ProgressBar::hidden();
    }
    // Standard error that is no terminal draws nothing.
    let bar = ProgressBar::with_draw_target(of, ProgressDrawTarget::stderr_with_hz(REDRAWS_PER_SECOND_MAX)).with_message(what);
    let template = if of.is_some() { "{msg} {wide_bar} {human_pos}/{human_len} {eta}" } else { "{spinner} {msg} {human_pos}" };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    if of.is_none() {
        bar.enable_steady_tick(Duration::from_millis(100));
    }
    bar
}
