//! The law with one rule taken out, to see that the simulator notices.

use engine::Replicated;
use engine::law::{LawCheck, Proposal, RULES, Unlawful};

fn without<const RULE: usize>(state: &Replicated, proposal: Proposal<'_>) -> Result<(), Unlawful> {
    RULES.iter().enumerate().filter(|(index, _)| index + 1 != RULE).try_for_each(|(_, rule)| rule(state, proposal))
}

/// The whole law but rule `rule` (1 to 7).
pub fn broken(rule: usize) -> Option<LawCheck> {
    let laws: [LawCheck; 7] =
        [without::<1>, without::<2>, without::<3>, without::<4>, without::<5>, without::<6>, without::<7>];
    rule.checked_sub(1).and_then(|index| laws.get(index)).copied()
}
