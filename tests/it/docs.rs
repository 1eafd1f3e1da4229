//! What the documentation tells people to paste.

use std::{collections::BTreeSet, path::Path, process::Command};

use glacier_gateway::config::{ACCOUNT_FILES, Settings};

use crate::support::BINARY;

const BASE: &str = "[aws]\nregion = \"eu-central-1\"\naccount_id = \"111122223333\"\n";

#[test]
fn the_configuration_in_the_documentation_is_good() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/docs");
    let mut checked = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let blocks: String =
            text.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
        if blocks.contains("[issuers.") {
            let settings = Settings::from_toml(&format!("{BASE}{blocks}"));
            assert!(settings.is_ok(), "{}: {:?}", path.display(), settings.err());
            checked += 1;
        }
    }
    assert!(checked >= 2);
}

#[test]
fn the_accounts_in_the_documentation_are_good() {
    let page = include_str!("../../docs/accounts.md");
    let (mut text, mut files) = (String::new(), Vec::new());
    for block in page.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()) {
        match block.strip_prefix("# accounts/").and_then(|rest| rest.split_once('\n')) {
            Some((name, file)) => files.push((Path::new(name), file.as_bytes())),
            None => text += block,
        }
    }
    assert!(!files.is_empty());
    let issuer = "[issuers.x]\nissuer = \"https://x.example\"\naudiences = [\"x\"]\n";
    let settings = Settings::from_toml(&format!("{text}{issuer}")).unwrap();
    let settings = settings.with_files(ACCOUNT_FILES, files).unwrap();
    assert_eq!(settings.accounts.keys().collect::<Vec<_>>(), ["films", "media"]);
}

#[test]
fn the_readme_shows_the_example_of_a_production_configuration() {
    let example = include_str!("../../config/example.toml");
    let settings = example.split_once("\n\n").unwrap().1;
    let shown = format!("```toml\n{settings}```\n");
    assert!(include_str!("../../README.md").contains(&shown), "{shown}");
}

/// What a command prints of itself.
fn help(words: &[&str]) -> String {
    let output = Command::new(BINARY).args(words).arg("--help").output().unwrap();
    assert!(output.status.success(), "{words:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn subcommands(help: &str) -> Vec<String> {
    let listed = help.split_once("Commands:\n").map_or("", |(_, listed)| listed);
    let listed = listed.lines().take_while(|line| line.starts_with("  "));
    listed.filter_map(|line| line.split_whitespace().next().map(ToOwned::to_owned)).collect()
}

#[test]
fn every_command_in_the_documentation_exists_with_its_options() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"));
    let pages = std::fs::read_dir(format!("{root}/docs")).unwrap();
    let pages = pages.map(|page| page.unwrap().path()).chain([format!("{root}/README.md").into()]);
    let mut checked = BTreeSet::new();
    for page in pages.filter(|page| page.extension().is_some_and(|extension| extension == "md")) {
        let text = std::fs::read_to_string(&page).unwrap().replace("\\\n", " ");
        for (at, name) in text.match_indices("glacier-gateway ") {
            if !["\n", "`", "$ ", "/bin/"].iter().any(|before| text[..at].ends_with(before)) {
                continue;
            }
            let shown = &text[at + name.len()..];
            // A function of the shell that passes on whatever command it is given.
            if shown.starts_with("\"$@\"") {
                continue;
            }
            let end = shown.find(['\n', '`', '|', '>']).unwrap_or(shown.len());
            let words: Vec<&str> = shown[..end].split_whitespace().collect();
            let (mut depth, mut said) = (0, help(&[]));
            while words.get(depth).is_some_and(|word| subcommands(&said).iter().any(|s| s == word))
            {
                depth += 1;
                said = help(&words[..depth]);
            }
            let (command, rest) = words.split_at(depth);
            assert!(subcommands(&said).is_empty(), "{}: {words:?}", page.display());
            for option in rest.iter().filter(|word| word.starts_with("--")) {
                assert!(said.contains(option), "{}: {words:?}", page.display());
            }
            checked.insert(command.join(" "));
        }
    }
    assert!(checked.len() >= 15, "{checked:?}");
}
