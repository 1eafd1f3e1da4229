//! Tasks that wait: the teams take turns, so that none waits for all of another's.

use std::collections::{BTreeMap, VecDeque};

use super::task::Task;

/// Tasks that wait, by team.
#[derive(Default)]
pub(super) struct Turns {
    queues: BTreeMap<String, VecDeque<Task>>,
    /// The team whose turn was last.
    last: String,
}

impl Turns {
    /// How many wait.
    pub fn len(&self) -> usize {
        self.queues.values().map(VecDeque::len).sum()
    }

    /// How many of a team's wait.
    pub fn of(&self, team: &str) -> usize {
        self.queues.get(team).map_or(0, VecDeque::len)
    }

    /// Lets a task wait.
    pub fn push(&mut self, task: Task) {
        match self.queues.get_mut(&task.known.row.team) {
            Some(queue) => queue.push_back(task),
            None => {
                self.queues.insert(task.known.row.team.clone(), VecDeque::from([task]));
            }
        }
    }

    /// The task whose turn it is.
    pub fn next(&mut self) -> Option<Task> {
        let waiting = |(_, queue): &(&String, &VecDeque<Task>)| !queue.is_empty();
        let after = self.queues.range(format!("{}\0", self.last)..).find(waiting);
        let team = after.or_else(|| self.queues.iter().find(waiting))?.0.clone();
        let task = self.queues.get_mut(&team)?.pop_front();
        self.last = team;
        task
    }

    /// All of them.
    pub fn take(&mut self) -> Vec<Task> {
        std::mem::take(&mut self.queues).into_values().flatten().collect()
    }
}
