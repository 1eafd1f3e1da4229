//! Reads a policy folder: all of it, or nothing.
//!
//! ```text
//! teams/<team>.json, teams/<team>/*.json    a team's own policies
//! guardrails/*.json                         limits on every team
//! vaults/*.json                             vault policies, with Principal
//! ```

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::decision::{Layer, StatementId};
use super::diagnostic::{Diagnostic, Problem, Severity};
use super::document::{self, DocumentKind};
use super::set::{PolicySet, Stored};
use super::statement::Statement;

/// A policy file's text and its place in the set.
struct Source {
    layer: Layer,
    /// The team, in the team layer.
    team: Option<String>,
    path: PathBuf,
    text: Arc<str>,
}

impl PolicySet {
    /// Reads and compiles a policy folder; gives the warnings too.
    ///
    /// # Errors
    /// Every error of every file (and the warnings). One suffices to refuse the
    /// whole set: a Deny that is skipped is an Allow.
    pub fn load(folder: &Path) -> Result<(Self, Vec<Diagnostic>), Vec<Diagnostic>> {
        let mut diagnostics = Vec::new();
        let sources = read_folder(folder, &mut diagnostics);
        let mut teams: BTreeMap<String, Vec<Stored>> = BTreeMap::new();
        let (mut guardrails, mut vaults) = (None, Vec::new());
        for source in &sources {
            let statements = compile(source, &mut diagnostics);
            match (source.layer, &source.team) {
                (Layer::Policies, team) => {
                    teams.entry(team.clone().unwrap_or_default()).or_default().extend(statements);
                }
                (Layer::Guardrails, _) => {
                    guardrails.get_or_insert_with(Vec::new).extend(statements);
                }
                (Layer::VaultPolicies, _) => vaults.extend(statements),
            }
        }
        if diagnostics.iter().any(|d| d.severity == Severity::Error) {
            return Err(diagnostics);
        }
        Ok((Self::new(teams, guardrails, vaults), diagnostics))
    }
}

fn compile(source: &Source, diagnostics: &mut Vec<Diagnostic>) -> Vec<Stored> {
    let kind = match source.layer {
        Layer::VaultPolicies => DocumentKind::Resource,
        Layer::Policies | Layer::Guardrails => DocumentKind::Identity,
    };
    let statements =
        document::parse(&source.text, kind).and_then(|document| Statement::compile(&document));
    let statements = statements.unwrap_or_else(|problems| {
        let diagnose = |problem| Diagnostic::new(&source.path, &source.text, problem);
        diagnostics.extend(problems.into_iter().map(diagnose));
        Vec::new()
    });
    let store = |(index, statement): (usize, Statement)| {
        let id = Arc::new(StatementId {
            layer: source.layer,
            policy: source.path.display().to_string(),
            statement: index,
            sid: statement.sid.as_deref().map(str::to_owned),
        });
        Stored { statement, id }
    };
    statements.into_iter().enumerate().map(store).collect()
}

/// Finds the policy files. Names that begin with a dot are passed over: among
/// them are the versions of a Kubernetes ConfigMap, reached by its symlinks.
fn read_folder(folder: &Path, diagnostics: &mut Vec<Diagnostic>) -> Vec<Source> {
    let mut reader = FolderReader { root: folder, sources: Vec::new(), diagnostics };
    for entry in reader.entries(Path::new("")) {
        match (entry.to_str(), folder.join(&entry).is_dir()) {
            (Some("teams"), true) => reader.teams(),
            (Some("guardrails"), true) => reader.files(&entry, Layer::Guardrails, None),
            (Some("vaults"), true) => reader.files(&entry, Layer::VaultPolicies, None),
            (_, is_dir) if is_dir || is_json(&entry) => reader.misplaced(&entry),
            _ => {}
        }
    }
    reader.sources
}

struct FolderReader<'a> {
    root: &'a Path,
    sources: Vec<Source>,
    diagnostics: &'a mut Vec<Diagnostic>,
}

impl FolderReader<'_> {
    fn teams(&mut self) {
        for entry in self.entries(Path::new("teams")) {
            let team = entry.file_stem().and_then(|name| name.to_str()).map(str::to_owned);
            if self.root.join(&entry).is_dir() {
                let team = entry.file_name().and_then(|name| name.to_str()).map(str::to_owned);
                self.files(&entry, Layer::Policies, team);
            } else if is_json(&entry) {
                self.read(entry, Layer::Policies, team);
            }
        }
    }

    fn files(&mut self, folder: &Path, layer: Layer, team: Option<String>) {
        for entry in self.entries(folder) {
            if self.root.join(&entry).is_dir() {
                self.misplaced(&entry);
            } else if is_json(&entry) {
                self.read(entry, layer, team.clone());
            }
        }
    }

    fn read(&mut self, path: PathBuf, layer: Layer, team: Option<String>) {
        match fs::read_to_string(self.root.join(&path)) {
            Ok(text) => self.sources.push(Source { layer, team, path, text: text.into() }),
            Err(error) => self.report(&path, "unreadable", format!("cannot read this: {error}")),
        }
    }

    /// The entries of a folder below the root, sorted, relative to the root.
    fn entries(&mut self, folder: &Path) -> Vec<PathBuf> {
        let names = fs::read_dir(self.root.join(folder)).and_then(|entries| {
            entries.map(|entry| entry.map(|entry| entry.file_name())).collect::<Result<Vec<_>, _>>()
        });
        match names {
            Ok(mut names) => {
                names.retain(|name| !name.as_encoded_bytes().starts_with(b"."));
                names.sort();
                names.into_iter().map(|name| folder.join(name)).collect()
            }
            Err(error) => {
                self.report(folder, "unreadable", format!("cannot read this folder: {error}"));
                Vec::new()
            }
        }
    }

    fn misplaced(&mut self, path: &Path) {
        let message = "no policy is read from here: put it under teams/<team>/, guardrails/ or \
                       vaults/";
        self.report(path, "misplaced", message.to_owned());
    }

    fn report(&mut self, path: &Path, code: &'static str, message: String) {
        let path = if path.as_os_str().is_empty() { self.root } else { path };
        let problem = Problem::error(code, 0..0, message);
        self.diagnostics.push(Diagnostic::new(path, &Arc::from(""), problem));
    }
}

fn is_json(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "json")
}
