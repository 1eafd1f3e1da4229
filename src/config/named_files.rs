//! Tables that the operator names, in files of their own: further layers of the settings.

use std::path::Path;

use figment::{
    Metadata, Profile, Provider,
    providers::{Format, Toml},
    value::{Dict, Map, Value},
};

use super::{Examined, Mistake, Settings, accounts::is_name};

/// Tables that may stand in files of a folder.
#[derive(Clone, Copy, Debug)]
pub struct NamedFiles {
    /// The setting that names the folder.
    pub directory: &'static str,
    /// Where the tables stand in the settings.
    table: &'static str,
    /// Whose file it is.
    owner: &'static str,
}

/// What stands in `NAME.toml` stands in `[accounts.NAME]`.
pub const ACCOUNT_FILES: NamedFiles =
    NamedFiles { directory: "aws.accounts_directory", table: "accounts", owner: "an account" };

/// What stands in `ID.toml` stands in `[lifecycle.rules.ID]`.
pub const RULE_FILES: NamedFiles =
    NamedFiles { directory: "lifecycle.directory", table: "lifecycle.rules", owner: "a rule" };

/// A file as a layer of the settings.
struct NamedFile<'a> {
    key: &'a str,
    path: &'a Path,
    text: &'a str,
}

impl Provider for NamedFile<'_> {
    fn metadata(&self) -> Metadata {
        Metadata::from("file", self.path)
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        let within = |dict: Dict, name: &str| Dict::from([(name.to_owned(), Value::from(dict))]);
        let data = Toml::string(self.text).data()?.into_iter();
        Ok(data.map(|(profile, dict)| (profile, self.key.rsplit('.').fold(dict, within))).collect())
    }
}

impl Settings {
    /// These settings with the tables of files, each of which is named `NAME.toml` and
    /// holds what the table `NAME` would. Notes (`.md`) may stand beside them.
    ///
    /// # Errors
    /// Every mistake in all of the files, and of these tables together with those of the
    /// settings.
    pub fn with_files<'a>(
        &self,
        NamedFiles { directory, table, owner }: NamedFiles,
        files: impl IntoIterator<Item = (&'a Path, &'a [u8])>,
    ) -> Result<Settings, Vec<Mistake>> {
        let mut mistakes = Vec::new();
        let mut layers = self.layers.clone();
        for (path, contents) in files {
            let mut wrong = |key: String, message: String| {
                let origin = Some(path.display().to_string());
                mistakes.push(Mistake { key, message, origin });
            };
            let extension = path.extension().and_then(|extension| extension.to_str());
            let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
            match extension {
                Some("md") => continue,
                Some("toml") if is_name(name) => {}
                _ => {
                    let message = format!(
                        "name {owner}'s file NAME.toml, with a NAME of 1 to 64 characters of A-Z, \
                         a-z, 0-9, _ and -"
                    );
                    wrong(directory.to_owned(), message);
                    continue;
                }
            }
            let key = format!("{table}.{name}");
            if self.layers.find_value(&key).is_ok() {
                wrong(key, "stands in the configuration as well; remove one".to_owned());
                continue;
            }
            let Ok(text) = std::str::from_utf8(contents) else {
                wrong(key, "is not UTF-8".to_owned());
                continue;
            };
            let file = NamedFile { key: &key, path, text };
            match file.data() {
                Ok(_) => layers = layers.merge(file),
                Err(error) => wrong(key, error.kind.to_string()),
            }
        }
        let Examined { settings, mistakes: mut further } = Examined::of(&layers);
        // What is wrong without the files is not theirs: it was reported before.
        let before = Examined::of(&self.layers).mistakes;
        further.retain(|mistake| !before.contains(mistake));
        mistakes.extend(further);
        match settings {
            Some(settings) if mistakes.is_empty() => Ok(settings),
            _ => Err(mistakes),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const EXAMPLE: &str = include_str!("../../config/example.toml");

    fn with_files(files: &[(&str, &str)]) -> Result<Settings, Vec<String>> {
        let text = "[accounts.media]\nid = \"444455556666\"\nregions = [\"us-east-1\"]\n";
        let settings = Settings::from_toml(&format!("{EXAMPLE}\n{text}")).unwrap();
        let files = files.iter().map(|(path, text)| (Path::new(*path), text.as_bytes()));
        let told = |mistakes: Vec<Mistake>| mistakes.iter().map(ToString::to_string).collect();
        settings.with_files(ACCOUNT_FILES, files).map_err(told)
    }

    #[test]
    fn a_file_holds_what_a_table_of_its_name_would() {
        let video = "id = \"555566667777\"\nregions = [\"eu-central-1\"]\n[tags]\nenv = \"prod\"\n";
        let settings = with_files(&[("/x/video.toml", video), ("/x/README.md", "#")]).unwrap();
        assert_eq!(settings.accounts.keys().collect::<Vec<_>>(), ["media", "video"]);
        assert_eq!(settings.accounts["video"].tags["env"], "prod");
    }

    #[test]
    fn all_mistakes_of_all_files_are_reported_at_once_with_their_files() {
        let good = "id = \"555566667777\"\nregions = [\"eu-central-1\"]\n";
        let found = with_files(&[
            ("/x/broken.toml", "id = \"555566667777\nregions"),
            ("/x/media.toml", good),
            ("/x/same.toml", "id = \"444455556666\"\nregions = [\"eu-central-1\"]\n"),
            ("/x/typo.toml", "id = \"666677778888\"\nregions = [\"moon\"]\n"),
            ("/x/video.json", good),
            ("/x/a b.toml", good),
        ])
        .unwrap_err();
        let told = |start: &str, end: &str| {
            let mut found = found.iter();
            found.any(|mistake| mistake.starts_with(start) && mistake.contains(end))
        };
        assert!(told("accounts.broken: ", "(set in /x/broken.toml)"), "{found:#?}");
        assert!(told("accounts.media: stands in the configuration", "media.toml"), "{found:#?}");
        assert!(told("accounts.same.id: is already the account of accounts.media", ""));
        assert!(told("accounts.typo.regions.0: a region is", "typo.toml"), "{found:#?}");
        assert!(told("aws.accounts_directory: name an account's file", "video.json"));
        assert!(told("aws.accounts_directory: name an account's file", "a b.toml"));
        assert_eq!(found.len(), 6, "{found:#?}");
    }
}
