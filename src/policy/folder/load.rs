//! Reads a policy folder: all of it, or nothing.
//!
//! ```text
//! teams/<team>.json, teams/<team>/*.json    a team's own policies
//! guardrails/*.json                         limits on every team
//! vaults/*.json                             vault policies, with Principal
//! ```

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::domain::check_team;
use crate::files::{self, Progress};
use crate::policy::engine::decision::{Layer, StatementId};
use crate::policy::engine::set::{PolicySet, Stored};
use crate::policy::engine::statement::Statement;
use crate::policy::language::document::Effect;
use crate::policy::language::finding::Finding;
use crate::policy::language::lint_code::LintCode;
use crate::policy::language::lint_code::Severity;
use crate::policy::language::{actions, reader};
use crate::policy::review::diagnostic::Diagnostic;
use crate::policy::review::{errors, warnings};

/// The most that a policy file may hold, in bytes.
const MAX_SIZE: u64 = 4 << 20;

/// A policy file's text and its place in the set.
struct PolicyFile {
    layer: Layer,
    /// The team, in the team layer.
    team: Option<String>,
    path: PathBuf,
    text: Arc<str>,
}

/// A set and its warnings, or what is wrong.
type Loaded = Result<(PolicySet, Vec<Diagnostic>), Vec<Diagnostic>>;

/// A compiled statement and where it stands.
struct Placed<'a> {
    source: &'a PolicyFile,
    index: usize,
    span: Range<usize>,
    statement: Statement,
}

impl PolicySet {
    /// Reads and compiles a policy folder; gives the warnings too.
    ///
    /// # Errors
    /// Every error of every file (and the warnings). One suffices to refuse the
    /// whole set: a Deny that is skipped is an Allow.
    pub fn load(folder: &Path) -> Result<(Self, Vec<Diagnostic>), Vec<Diagnostic>> {
        Self::load_with(folder, &Progress::default()).1
    }

    /// As [`Self::load`], with the digest of the files; counts up `progress`.
    pub(super) fn load_with(folder: &Path, progress: &Progress) -> (String, Loaded) {
        let mut diagnostics = Vec::new();
        let sources = read_folder(folder, progress, &mut diagnostics);
        (digest(&sources), Self::of(&sources, progress, diagnostics))
    }

    fn of(sources: &[PolicyFile], progress: &Progress, mut diagnostics: Vec<Diagnostic>) -> Loaded {
        let placed = compile(sources, progress, &mut diagnostics);
        if diagnostics.iter().any(|d| d.severity == Severity::Error) {
            return Err(diagnostics);
        }
        let mut teams: BTreeMap<String, Vec<Stored>> = BTreeMap::new();
        let has_guardrails = sources.iter().any(|source| source.layer == Layer::Guardrails);
        let mut guardrails = has_guardrails.then(Vec::new);
        let mut vaults = Vec::new();
        for placed in placed {
            let PolicyFile { layer, team, .. } = placed.source;
            let stored = placed.store();
            match layer {
                Layer::Policies => {
                    teams.entry(team.clone().unwrap_or_default()).or_default().push(stored);
                }
                Layer::Guardrails => guardrails.get_or_insert_default().push(stored),
                Layer::VaultPolicies => vaults.push(stored),
            }
        }
        Ok((Self::new(teams, guardrails, vaults), diagnostics))
    }
}

impl Placed<'_> {
    fn store(self) -> Stored {
        let id = StatementId {
            layer: self.source.layer,
            policy: self.source.path.display().to_string(),
            statement: self.index,
            sid: self.statement.sid.as_deref().map(str::to_owned),
        };
        Stored::new(self.statement, id)
    }
}

/// What tells whether two folders hold the same policies. By hand, in the folder:
/// `find . -name '*.json' -printf '%P\n' | LC_ALL=C sort | xargs sha256sum | sha256sum`
fn digest(sources: &[PolicyFile]) -> String {
    let line = |source: &PolicyFile| {
        let path = source.path.display().to_string();
        let line = format!("{}  {path}\n", files::sha256(&[source.text.as_bytes()]));
        (path, line)
    };
    let lines: BTreeMap<String, String> = sources.iter().map(line).collect();
    files::sha256(&lines.into_values().collect::<Vec<_>>())
}

/// Lints one document by itself, as a policy of the layer.
pub fn lint_document(file: &Path, text: &str, layer: Layer) -> Vec<Diagnostic> {
    let source = PolicyFile { layer, team: None, path: file.to_owned(), text: text.into() };
    let mut diagnostics = Vec::new();
    compile(&[source], &Progress::default(), &mut diagnostics);
    diagnostics
}

/// Compiles documents; reports the errors and warnings of each and, if there are no
/// errors, those of all together.
fn compile<'a>(
    sources: &'a [PolicyFile],
    progress: &Progress,
    diagnostics: &mut Vec<Diagnostic>,
) -> Vec<Placed<'a>> {
    let mut placed = Vec::new();
    for source in sources {
        progress.step();
        let mut findings = Vec::new();
        let statements = examine(&source.text, source.layer, &mut findings);
        let diagnose = |finding| Diagnostic::new(&source.path, &source.text, finding);
        diagnostics.extend(findings.into_iter().map(diagnose));
        let place = |(index, (span, statement))| Placed { source, index, span, statement };
        placed.extend(statements.into_iter().enumerate().map(place));
    }
    if !diagnostics.iter().any(|d| d.severity == Severity::Error) {
        report_shadowed(&placed, progress, diagnostics);
    }
    placed
}

/// Warns of Allows of which a Deny leaves nothing that applies wherever they do: one
/// for the same team, or one of a layer for everyone.
fn report_shadowed(placed: &[Placed<'_>], progress: &Progress, diagnostics: &mut Vec<Diagnostic>) {
    let actions: Vec<String> = actions::performed().collect();
    let (denies, allows): (Vec<_>, Vec<_>) =
        placed.iter().partition(|placed| placed.statement.effect == Effect::Deny);
    // A Deny belongs to a team, or to a layer that is for everyone.
    let mut by_team: HashMap<Option<&str>, Vec<&Placed<'_>>> = HashMap::new();
    for deny in denies {
        by_team.entry(deny.source.team.as_deref()).or_default().push(deny);
    }
    for allow in allows {
        progress.step();
        let own = allow.source.team.as_deref().and_then(|team| by_team.get(&Some(team)));
        let mut denies = by_team.get(&None).into_iter().chain(own).flatten();
        let shadow = denies.find(|deny| deny.statement.shadows(&allow.statement, &actions));
        if let Some(deny) = shadow {
            let message = format!(
                "a Deny in {} applies to every request that this Allow would allow",
                deny.source.path.display()
            );
            let finding = Finding::new(LintCode::ShadowedAllow, allow.span.clone(), message);
            diagnostics.push(Diagnostic::new(&allow.source.path, &allow.source.text, finding));
        }
    }
}

/// Compiles a document with all that the gateway asks of it; reports errors and
/// warnings in the order of the text. With an error there may be no statements.
fn examine(
    text: &str,
    layer: Layer,
    findings: &mut Vec<Finding>,
) -> Vec<(Range<usize>, Statement)> {
    let document = match reader::parse(text, layer.kind()) {
        Ok(document) => document,
        Err(errors) => {
            findings.extend(errors);
            return Vec::new();
        }
    };
    errors::find(&document, layer, findings);
    let statements = Statement::compile(&document).unwrap_or_else(|errors| {
        findings.extend(errors);
        Vec::new()
    });
    if findings.is_empty() {
        warnings::find(text, &document, &statements, layer, findings);
    }
    findings.sort_by_key(|finding| finding.span.start);
    let spans = document.statements.into_iter().map(|node| node.span);
    spans.zip(statements).collect()
}

/// Finds the policy files. Names that begin with a dot are passed over: among
/// them are the versions of a Kubernetes ConfigMap, reached by its symlinks.
fn read_folder(
    folder: &Path,
    progress: &Progress,
    diagnostics: &mut Vec<Diagnostic>,
) -> Vec<PolicyFile> {
    let mut reader = FolderReader { root: folder, sources: Vec::new(), progress, diagnostics };
    for entry in reader.entries(Path::new("")) {
        match (entry.to_str(), folder.join(&entry).is_dir()) {
            (Some("teams"), true) => reader.teams(),
            (Some("guardrails"), true) => reader.files(&entry, Layer::Guardrails, None),
            (Some("vaults"), true) => reader.files(&entry, Layer::VaultPolicies, None),
            (Some("teams" | "guardrails" | "vaults"), false) => reader.misplaced(&entry),
            (_, is_dir) if is_dir || is_json(&entry) => reader.misplaced(&entry),
            _ => {}
        }
    }
    reader.sources
}

struct FolderReader<'a> {
    root: &'a Path,
    sources: Vec<PolicyFile>,
    progress: &'a Progress,
    diagnostics: &'a mut Vec<Diagnostic>,
}

impl FolderReader<'_> {
    fn teams(&mut self) {
        for entry in self.entries(Path::new("teams")) {
            let is_dir = self.root.join(&entry).is_dir();
            if !is_dir && !is_json(&entry) {
                self.unread(&entry);
                continue;
            }
            let name = if is_dir { entry.file_name() } else { entry.file_stem() };
            let team = name.and_then(|name| name.to_str()).unwrap_or_default().to_owned();
            if let Err(why) = check_team(&team) {
                self.report(
                    &entry,
                    LintCode::Misplaced,
                    format!("a team cannot have this name: {why}"),
                );
            } else if is_dir {
                self.files(&entry, Layer::Policies, Some(team));
            } else {
                self.read(entry, Layer::Policies, Some(team));
            }
        }
    }

    fn files(&mut self, folder: &Path, layer: Layer, team: Option<String>) {
        for entry in self.entries(folder) {
            if self.root.join(&entry).is_dir() {
                self.misplaced(&entry);
            } else if is_json(&entry) {
                self.read(entry, layer, team.clone());
            } else {
                self.unread(&entry);
            }
        }
    }

    fn read(&mut self, path: PathBuf, layer: Layer, team: Option<String>) {
        self.progress.step();
        let bytes = files::read(&self.root.join(&path), MAX_SIZE);
        match bytes.and_then(|bytes| String::from_utf8(bytes).map_err(io::Error::other)) {
            Ok(text) => self.sources.push(PolicyFile { layer, team, path, text: text.into() }),
            Err(error) => {
                self.report(&path, LintCode::Unreadable, format!("cannot read this file: {error}"))
            }
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
                self.report(
                    folder,
                    LintCode::Unreadable,
                    format!("cannot read this folder: {error}"),
                );
                Vec::new()
            }
        }
    }

    /// A policy under another name would be passed over in silence, and a Deny in
    /// it with it. Only notes may stand beside policies.
    fn unread(&mut self, path: &Path) {
        if path.extension().is_none_or(|extension| extension != "md") {
            let message = "the gateway does not read policies from a file of this name: rename it \
                           to NAME.json or remove it (only .md files may stand beside policies)";
            self.report(path, LintCode::Misplaced, message.to_owned());
        }
    }

    fn misplaced(&mut self, path: &Path) {
        let message = "the gateway does not read policies from here: move this to teams/<team>/, \
                       guardrails/ or vaults/";
        self.report(path, LintCode::Misplaced, message.to_owned());
    }

    fn report(&mut self, path: &Path, code: LintCode, message: String) {
        let path = if path.as_os_str().is_empty() { self.root } else { path };
        let finding = Finding::new(code, 0..0, message);
        self.diagnostics.push(Diagnostic::new(path, &Arc::from(""), finding));
    }
}

fn is_json(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "json")
}
