//! The locks and wakers that the task and its handles share. A build with
//! `--cfg tcpchan_loom` takes loom's, for the models in `loom/`.

#[cfg(not(tcpchan_loom))]
pub(super) use std::sync::{Mutex, MutexGuard};
#[cfg(not(tcpchan_loom))]
pub(super) use tokio::sync::{Notify, futures::Notified};

#[cfg(tcpchan_loom)]
pub(super) use self::modelled::{Notified, Notify};
#[cfg(tcpchan_loom)]
pub(super) use loom::sync::{Mutex, MutexGuard};

#[cfg(tcpchan_loom)]
mod modelled {
    use std::future::Future;
    use std::pin::Pin;
    use std::sync::PoisonError;
    use std::task::{Context, Poll, Waker};

    use super::{Mutex, MutexGuard};

    /// What tokio's `Notify` promises of `notify_waiters`: it wakes every
    /// `Notified` that was made before. (tokio models its own with loom.)
    #[derive(Debug)]
    pub struct Notify(Mutex<Waiters>);

    #[derive(Debug, Default)]
    struct Waiters {
        calls: usize,
        wakers: Vec<Waker>,
    }

    #[derive(Debug)]
    pub struct Notified<'a> {
        notify: &'a Notify,
        made_after: usize,
    }

    impl Notify {
        pub fn new() -> Self {
            Notify(Mutex::default())
        }

        fn lock(&self) -> MutexGuard<'_, Waiters> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner)
        }

        pub fn notified(&self) -> Notified<'_> {
            Notified {
                notify: self,
                made_after: self.lock().calls,
            }
        }

        pub fn notify_waiters(&self) {
            let mut waiters = self.lock();
            waiters.calls += 1;
            let wakers = std::mem::take(&mut waiters.wakers);
            drop(waiters);
            wakers.into_iter().for_each(Waker::wake);
        }
    }

    impl Future for Notified<'_> {
        type Output = ();

        fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
            let mut waiters = self.notify.lock();
            if waiters.calls != self.made_after {
                return Poll::Ready(());
            }
            if !waiters
                .wakers
                .iter()
                .any(|there| there.will_wake(cx.waker()))
            {
                waiters.wakers.push(cx.waker().clone());
            }
            Poll::Pending
        }
    }
}
