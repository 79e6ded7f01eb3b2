//! A validator in this process with a real RPC server, which clients and attackers reach by its port.

use evchain_node::rpc::{Endpoint, MetricsAt, RpcClient, RpcConfig, RpcServer};
use prometheus_client::registry::Registry;

use crate::common::{self, Cluster, transfer};

pub(crate) struct Served {
    pub(crate) cluster: Cluster,
    pub(crate) rpc: RpcServer,
}

impl Served {
    pub(crate) async fn start(change: impl FnOnce(&mut RpcConfig)) -> Self {
        Self::of(Cluster::start(1).await, change).await
    }

    pub(crate) async fn of(cluster: Cluster, change: impl FnOnce(&mut RpcConfig)) -> Self {
        let listen = ([127, 0, 0, 1], 0).into();
        let metrics = MetricsAt::Address(listen);
        let mut config = RpcConfig { listen, metrics, ..RpcConfig::default() };
        change(&mut config);
        let rpc = RpcServer::start(config, cluster.handle(0), Registry::default()).await.unwrap();
        Self { cluster, rpc }
    }

    pub(crate) async fn client(&self) -> RpcClient {
        RpcClient::connect(&[self.endpoint()]).await.unwrap()
    }

    pub(crate) fn endpoint(&self) -> Endpoint {
        self.rpc.address().to_string().parse().unwrap()
    }

    /// A transfer of the rich account as `submit` wants it.
    pub(crate) fn transfer(&self, nonce: u64, amount: u64) -> String {
        hex::encode(transfer(&self.cluster, nonce, common::key(900).public_key(), amount))
    }

    pub(crate) async fn stop(self) {
        self.rpc.stop().await;
        self.cluster.stop().await;
    }
}
