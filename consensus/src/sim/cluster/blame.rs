//! Which invariants broke in a cluster, and who is blamed for what.

use evchain_protocol::crypto::PublicKey;
use evchain_protocol::finality::Evidence;

use super::Cluster;
use crate::sim::properties::Violation;

/// The invariants that only hold with at most f Byzantine nodes.
const BROKEN_BEYOND_F: [&str; 6] = ["I1", "I2", "I3", "I4", "I7", "halt"];

impl Cluster {
    /// The first broken invariant.
    pub const fn violation(&self) -> Option<&Violation> {
        self.violation.as_ref()
    }

    /// From now on more than f nodes may be Byzantine: that safety breaks does not end the run.
    pub const fn allow_more_than_f(&mut self) {
        self.beyond_f = true;
    }

    /// What broke that only holds with at most f Byzantine nodes.
    pub fn tolerated(&self) -> &[Violation] {
        &self.tolerated
    }

    /// I12: nobody finds fault with an honest node.
    pub(super) fn rejected(&mut self, node: usize, from: PublicKey, reason: &str) {
        let blamed = self.nodes.iter().position(|other| other.key.public_key() == from);
        let is_honest = |node: usize| self.nodes[node].behaviour.is_none();
        if let Some(blamed) = blamed.filter(|blamed| is_honest(*blamed) && is_honest(node)) {
            let what = format!("node {node} rejects what honest node {blamed} sent: {reason}");
            self.violate(Violation { invariant: "I12", what });
        }
    }

    /// I12: evidence holds up, and is never against an honest node.
    pub(super) fn accuse(&mut self, node: usize, evidence: &Evidence) {
        if !self.nodes[node].is_honest() {
            return;
        }
        let epoch = evidence.epoch();
        let first_height = self.plan.first_height(epoch);
        let offender = match evidence.verify(&self.plan.electorate(epoch), first_height) {
            Ok(offender) => self.nodes.iter().position(|other| other.key.public_key() == offender),
            Err(error) => {
                let what = format!("node {node} gathered {evidence:?}: {error}");
                return self.violate(Violation { invariant: "I12", what });
            }
        };
        self.story.note(self.now_ms, node, || Some(format!("accuses node {offender:?}: {evidence:?}")));
        let Some(offender) = offender.filter(|offender| !self.nodes[*offender].is_honest()) else {
            let what = format!("node {node} accuses honest node {offender:?} with {evidence:?}");
            return self.violate(Violation { invariant: "I12", what });
        };
        let incarnation = self.nodes[node].incarnation;
        let result = self.properties.accused(node, incarnation, offender, evidence);
        self.check(result);
    }

    pub(super) fn check(&mut self, result: Result<(), Violation>) {
        if let Err(violation) = result {
            self.violate(violation);
        }
    }

    pub(super) fn violate(&mut self, violation: Violation) {
        if self.beyond_f && BROKEN_BEYOND_F.contains(&violation.invariant) {
            self.tolerated.push(violation);
            return;
        }
        self.violation.get_or_insert(violation);
    }
}
