//! A question to the chain beside everything else that a session does.

use futures::future::{BoxFuture, Future, FutureExt};

use crate::agents::error::AgentError;

/// The question that is under way, if there is one.
pub(in crate::agents) struct Asking<T>(Option<BoxFuture<'static, Result<T, AgentError>>>);

impl<T> Default for Asking<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T> Asking<T> {
    /// Asks, in place of what was asked before.
    pub(in crate::agents) fn ask(
        &mut self,
        question: impl Future<Output = Result<T, AgentError>> + Send + 'static,
    ) {
        self.0 = Some(question.boxed());
    }

    pub(in crate::agents) const fn is_idle(&self) -> bool {
        self.0.is_none()
    }

    /// The answer, or none if nothing is asked. Cancel safe.
    pub(in crate::agents) async fn answer(&mut self) -> Option<Result<T, AgentError>> {
        let answer = self.0.as_mut()?.await;
        self.0 = None;
        Some(answer)
    }
}
