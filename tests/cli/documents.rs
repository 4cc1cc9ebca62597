//! What the documents tell people to type is typed here.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::mount::{PointGuard, is_mounted};
use crate::support::run::{Ran, run_with};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A shell that finds the `braidfs` of this build, and a git with a name of its own.
fn shell(script: &str, directory: &Path) -> Ran {
    let binary = Path::new(env!("CARGO_BIN_EXE_braidfs"));
    let path = format!("{}:{}", binary.parent().unwrap().display(), std::env::var("PATH").unwrap());
    let mut command = std::process::Command::new("bash");
    command.args(["-e", "-o", "pipefail", "-c", script]).current_dir(directory).env("PATH", path);
    command.env("BRAIDFS", binary).env_remove("BRAIDFS_STORE").env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_SYSTEM", "/dev/null");
    for role in ["AUTHOR", "COMMITTER"] {
        command.env(format!("GIT_{role}_NAME"), "Ada").env(format!("GIT_{role}_EMAIL"), "ada@example.org");
    }
    run_with(&mut command, b"")
}

/// The lines after `$ ` in the blocks that show a console.
fn commands(document: &str) -> Vec<String> {
    let text = fs::read_to_string(root().join(document)).unwrap();
    let blocks = text.split("```console\n").skip(1).map(|rest| rest.split("```").next().unwrap().to_owned());
    blocks.flat_map(|block| block.lines().filter_map(|line| line.strip_prefix("$ ").map(str::to_owned)).collect::<Vec<_>>()).collect()
}

#[test]
fn the_tutorial_can_be_typed() {
    let home = tempfile::tempdir().unwrap();
    let point = home.path().canonicalize().unwrap().join("mnt");
    let _guard = PointGuard::new(&point);
    let commands = commands("docs/TUTORIAL.md");
    assert!(commands.len() > 20);
    // Each line is shown before it runs, so that a failure says where.
    let script: String = commands.iter().map(|line| format!("echo '$ '{}\n{line}\n", shell_quoted(line))).collect();
    let ran = shell(&script, home.path()).ok();
    assert!(ran.out.contains("refused with 1"), "{}", ran.out);
    let sums: Vec<&str> = ran.lines().into_iter().filter(|line| line.ends_with("  -")).collect();
    assert!(sums.len() == 2 && sums[0] == sums[1], "{}", ran.out);
    assert!(ran.out.contains("\"committed\"") && ran.out.contains("6 transactions with 7 events in 2 streams"), "{}", ran.out);
    assert!(!is_mounted(&point));
    the_first_fold_can_be_run(&home.path().join("bank"));
}

/// Story: the first thing that the page of folds shows failed at a withdrawal of nothing in the store of the tutorial.
fn the_first_fold_can_be_run(store: &Path) {
    let page = fs::read_to_string(root().join("docs/PROJECTIONS.md")).unwrap();
    let fold = page.split("```\n").nth(1).unwrap();
    fs::create_dir_all(store.join("projections")).unwrap();
    fs::write(store.join("projections/balance.jq"), fold).unwrap();
    let ran = shell("braidfs projection run balance | jq -c .state.balance", store).ok();
    assert_eq!(ran.lines(), ["70", "10"]);
}

fn shell_quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// A repository of its own with the script: the tests may run where this one's history is not at hand.
fn project(place: &Path) -> PathBuf {
    let copy = "mkdir -p project/scripts && cp \"$0\" project/scripts/ && cd project && git init -q && echo a > Cargo.toml && git add . && git commit -q -m first";
    let script = root().join("scripts/quickstart");
    shell(&copy.replace("$0", script.to_str().unwrap()), place).ok();
    place.join("project")
}

/// The commands that the README gives for a project of one's own are typed as they stand, in a repository with nothing beside it.
#[test]
fn the_two_commands_of_the_readme_can_be_typed() {
    let home = tempfile::tempdir().unwrap();
    let place = home.path().canonicalize().unwrap();
    let _guard = PointGuard::new(&place.join("mnt"));
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let typed = readme.split("## Your own project").nth(1).unwrap().split("```").nth(1).unwrap().strip_prefix("sh\n").unwrap();
    assert_eq!(typed.lines().count(), 2);
    let script = format!("{typed}\nwc -l < ../mnt/feed.jsonl\njq -r .event_type ../mnt/log.jsonl | sort | uniq -c\nbraidfs umount ../mnt");
    let ran = shell(&script, &project(&place)).ok();
    assert_eq!(ran.out.lines().map(str::trim).collect::<Vec<_>>()[1..], ["2", "2 FileAdded"], "{}", ran.out);
    assert!(!is_mounted(&place.join("mnt")));
}

/// An import refuses a history that is cut.
#[test]
fn the_quickstart_runs_where_the_history_is_not_whole() {
    let home = tempfile::tempdir().unwrap();
    let place = home.path().canonicalize().unwrap();
    let _guards = ["shallow", "bare"].map(|copy| PointGuard::new(&place.join(format!("of {copy}/mnt"))));
    let project = project(&place);
    let cut = "git commit -q --allow-empty -m second && git clone -q --depth 1 \"file://$PWD\" ../shallow && cp -r ../shallow ../bare && rm -rf ../bare/.git";
    shell(cut, &project).ok();
    for copy in ["shallow", "bare"] {
        let ran = shell(&format!("scripts/quickstart '{}'", place.join(format!("of {copy}")).display()), &place.join(copy)).ok();
        assert!(
            ran.out.contains("# this copy has not its whole history") && ran.out.contains("3 transactions with 5 events"),
            "{}",
            ran.out
        );
    }
}

#[test]
fn the_quickstart_runs_and_the_readme_shows_it() {
    let home = tempfile::tempdir().unwrap();
    let place = home.path().canonicalize().unwrap();
    let _guard = PointGuard::new(&place.join("mnt"));
    let project = project(&place);
    let ran = shell(&format!("scripts/quickstart '{}'", place.display()), &project).ok();
    for part in [
        "1 transaction with 2 events in 2 streams",
        "refused, exit code 1",
        "\"state\":\"committed\"",
        "quickstart",
        "3 transactions with 5 events",
    ] {
        assert!(ran.out.contains(part), "{part} is missing in {}", ran.out);
    }
    let shown: Vec<String> = ran.lines().into_iter().filter_map(|line| line.strip_prefix("$ ").map(str::to_owned)).collect();
    let told: Vec<String> = commands("README.md").iter().map(|line| line.replace("/home/ada/braidfs", project.to_str().unwrap())).collect();
    assert_eq!(told, shown, "README.md shows what scripts/quickstart types");
    assert!(!is_mounted(&place.join("mnt")) && place.join("store/events").is_dir());
}
