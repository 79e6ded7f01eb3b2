//! The machines of a charging session: steps that are nearly right, and whatever the other side may say.

use std::sync::LazyLock;

use arbitrary::{Result, Unstructured};

use crate::chaos::{COUNT, Step, consumer_holds, deals, producer_holds};
use crate::deal::Deal;

/// Steps of one input.
const MAX_STEPS: usize = 200;

static DEALS: LazyLock<Vec<Deal>> = LazyLock::new(deals);

/// The first byte says how it is paid, and whose machine it is.
pub fn fuzz_sessions(data: &[u8]) {
    let Some((kind, rest)) = data.split_first() else { return };
    let kind = usize::from(*kind);
    let Some(deal) = DEALS.get(kind % DEALS.len()) else { return };
    let mut source = Unstructured::new(rest);
    let mut steps = Vec::new();
    while !source.is_empty() && steps.len() < MAX_STEPS {
        let Ok(step) = step(&mut source) else { break };
        steps.push(step);
    }
    if (kind / DEALS.len()).is_multiple_of(2) {
        producer_holds(deal, &steps);
    } else {
        consumer_holds(deal, &steps);
    }
}

fn step(source: &mut Unstructured) -> Result<Step> {
    let what: u8 = source.arbitrary()?;
    if what >= 0xf0 {
        let len = usize::from(source.arbitrary::<u8>()?).min(source.len());
        return Ok(Step::Said(source.bytes(len)?.to_vec()));
    }
    let index = u32::from(source.arbitrary::<u8>()?) % (COUNT + 2);
    let number = u64::from(source.arbitrary::<u16>()?) % 12_000;
    Ok(Step::Numbers((what, index, number)))
}
