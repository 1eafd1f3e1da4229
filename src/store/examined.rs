//! What is told of a store that somebody looked at.

use super::schema::{VERSION, Version};

/// How a store is.
#[derive(Debug, Default)]
pub struct Examined {
    /// Names and values, in the order in which they are told.
    pub facts: Vec<(&'static str, String)>,
    /// Why a gateway does not use the store.
    pub problems: Vec<String>,
    /// What an operator ought to know.
    pub warnings: Vec<String>,
}

impl Examined {
    pub(super) fn fact(&mut self, name: &'static str, value: impl ToString) {
        self.facts.push((name, value.to_string()));
    }

    /// Notes the version of the schema.
    pub(super) fn version(&mut self, found: Option<Version>) {
        match found {
            None => self.problems.push("there is no schema: run `store migrate`".to_owned()),
            Some(found) => {
                let Version { version, oldest_reader } = found;
                let told = format!("{version}, readable by {oldest_reader} and later");
                self.fact("schema", format!("{told}; this gateway knows {VERSION}"));
                self.problems.extend(found.applied().err().map(|error| error.to_string()));
                if version < VERSION {
                    self.problems.push("the schema is old: run `store migrate`".to_owned());
                }
            }
        }
    }
}
