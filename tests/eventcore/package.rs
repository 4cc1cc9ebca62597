//! The integration tests of eventcore-fs, from its package, on our module: only their import is changed.
//!
//! They are compiled against the libraries that this test binary was linked with, so that nothing is built twice.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// What the package's tests import besides eventcore-fs.
const LIBRARIES: [&str; 7] = ["braidfs", "eventcore_testing", "eventcore_types", "serde", "tempfile", "tokio", "uuid"];
/// The test file that must be the root, as its macro speaks of `crate`.
const ROOT: &str = "contract_suite_test.rs";

/// What cargo says of this binary's libraries.
struct Built {
    libraries: BTreeMap<String, Vec<PathBuf>>,
    search: Vec<String>,
    package: PathBuf,
}

fn built() -> Built {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(env!("CARGO_MANIFEST_DIR")).args(["test", "--no-run", "--offline", "--all-features", "--test", "eventcore"]);
    command.arg("--message-format=json");
    if !cfg!(debug_assertions) {
        command.arg("--release");
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut built = Built { libraries: BTreeMap::new(), search: Vec::new(), package: PathBuf::new() };
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let message: Value = serde_json::from_str(line).unwrap();
        let texts = |key: &str| -> Vec<String> {
            let list = message[key].as_array().into_iter().flatten();
            list.map(|text| text.as_str().unwrap().to_owned()).collect()
        };
        match message["reason"].as_str() {
            Some("compiler-artifact") => {
                let name = message["target"]["name"].as_str().unwrap().replace('-', "_");
                if name == "eventcore_fs" {
                    built.package = Path::new(message["manifest_path"].as_str().unwrap()).parent().unwrap().to_path_buf();
                }
                let rlibs = texts("filenames").into_iter().map(PathBuf::from).filter(|file| file.extension().is_some_and(|e| e == "rlib"));
                built.libraries.entry(name).or_default().extend(rlibs);
            }
            Some("build-script-executed") => built.search.extend(texts("linked_paths")),
            _ => {}
        }
    }
    built
}

/// Puts the package's tests into `dir` as modules of one crate; gives its root and the number of tests.
fn write_tests(package: &Path, dir: &Path) -> (PathBuf, usize) {
    let tests = package.join("tests");
    let listed = fs::read_dir(&tests).unwrap_or_else(|error| panic!("the tests of eventcore-fs are not in {}: {error}", tests.display()));
    let mut files: Vec<PathBuf> = listed.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert_eq!(files.len(), 5, "the tests of eventcore-fs in {}: {files:?}", tests.display());
    let (mut modules, mut count) = (String::new(), 0);
    for file in files {
        let name = file.file_name().unwrap().to_str().unwrap();
        let text = changed_import(&fs::read_to_string(&file).unwrap());
        count += text.matches("#[tokio::test]").count();
        fs::write(dir.join(name), &text).unwrap();
        if name != ROOT {
            modules += &format!("\n#[path = {:?}]\nmod {};\n", dir.join(name), name.trim_end_matches(".rs"));
        }
    }
    let root = dir.join("root.rs");
    fs::write(&root, fs::read_to_string(dir.join(ROOT)).unwrap() + &modules).unwrap();
    (root, count)
}

fn changed_import(text: &str) -> String {
    let mut imports = 0;
    let lines = text.lines().map(|line| {
        if !line.trim_start().starts_with("use eventcore_fs::") {
            assert!(!line.contains("eventcore_fs"), "more than an import: {line}");
            return format!("{line}\n");
        }
        imports += 1;
        line.replace("use eventcore_fs::", "use braidfs::eventcore::") + "\n"
    });
    let text = lines.collect();
    assert_eq!(imports, 1);
    text
}

fn compile(root: &Path, binary: &Path, built: &Built) {
    let mut command = Command::new(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    command.args(["--test", "--edition=2024", "--crate-name=eventcore_fs_tests", "-Cdebuginfo=0", "--cap-lints=allow"]);
    command.arg(root).arg("-o").arg(binary);
    for path in &built.search {
        command.arg("-L").arg(path);
    }
    for name in LIBRARIES {
        let found = built.libraries.get(name).map_or(&[][..], Vec::as_slice);
        assert_eq!(found.len(), 1, "one library {name} is linked: {found:?}");
        command.arg("-L").arg(format!("dependency={}", found[0].parent().unwrap().display()));
        command.arg("--extern").arg(format!("{name}={}", found[0].display()));
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_tests_of_the_package_pass_with_only_the_import_changed() {
    let built = built();
    let dir = tempfile::tempdir().unwrap();
    let (root, count) = write_tests(&built.package, dir.path());
    let binary = dir.path().join("tests");
    compile(&root, &binary, &built);
    let output = Command::new(&binary).arg("--test-threads=4").output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{told}\n{}", String::from_utf8_lossy(&output.stderr));
    let passed = told.lines().find_map(|line| line.strip_prefix("test result: ok. ")?.split(' ').next()?.parse::<usize>().ok());
    // The contract suite is behind one macro and counts on top.
    assert!(passed.is_some_and(|passed| passed > count && count >= 14), "{passed:?} passed of more than {count}: {told}");
}
