//! A program on a terminal of its own, by `script`: what it shows is waited for, and keys are typed.

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};

use super::wait::{eventually, eventually_some};

/// A running program; killed when it is dropped.
pub struct Terminal {
    child: Child,
    keys: ChildStdin,
    shown: Arc<Mutex<String>>,
}

impl Terminal {
    /// Starts a shell command in `directory`, on a terminal of 100 columns and 30 lines.
    pub fn start(directory: &Path, command: &str) -> Self {
        let sized = format!("stty cols 100 rows 30; exec {command}");
        let mut script = Command::new("script");
        script.args(["-qefc", &sized, "/dev/null"]).current_dir(directory).env("TERM", "xterm").env("LC_ALL", "C");
        let mut child = script.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let (keys, mut output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let shown = Arc::new(Mutex::new(String::new()));
        let seen = Arc::clone(&shown);
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(len @ 1..) = output.read(&mut bytes) {
                seen.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..len]));
            }
        });
        Self { child, keys, shown }
    }

    /// Waits until one of these texts has been shown since the keys before.
    #[track_caller]
    pub fn wait_for(&self, texts: &[&str]) {
        eventually(&format!("one of {texts:?} is shown"), || {
            let shown = self.shown.lock().unwrap();
            texts.iter().any(|text| shown.contains(text))
        });
    }

    /// Types keys, once one of these texts has been shown since the keys before.
    #[track_caller]
    pub fn type_after(&mut self, texts: &[&str], keys: &str) {
        self.wait_for(texts);
        self.shown.lock().unwrap().clear();
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until the program has ended by itself.
    #[track_caller]
    pub fn wait_for_end(mut self) -> bool {
        eventually_some("the program ends", || self.child.try_wait().unwrap()).success()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
